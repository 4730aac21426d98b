#include "fg_breaker.h"

static struct fg_breaker *find(struct fg_breakers *b, uint64_t key) {
    for (unsigned i = 0; i < b->n; i++)
        if (b->of[i].key == key)
            return &b->of[i];
    return NULL;
}

bool fg_breaker_lets(struct fg_breakers *b, uint64_t key, uint64_t now) {
    struct fg_breaker *x = b->n ? find(b, key) : NULL;
    if (x == NULL || x->until == 0)
        return true;
    if (now < x->until)
        return false;
    x->until = now + x->pause;
    return true;
}

void fg_breaker_strike(struct fg_breakers *b, uint64_t key, uint64_t event, uint64_t now) {
    struct fg_breaker *x = find(b, key);
    if (x == NULL) {
        if (b->n == FG_BREAKERS)
            return;
        x = &b->of[b->n++];
        *x = (struct fg_breaker){.key = key};
    } else if (x->event == event) {
        return;
    }
    x->event = event;
    if (++x->strikes < FG_BREAKER_STRIKES)
        return;
    x->pause = x->pause == 0 ? FG_BREAKER_MIN_MS : x->pause < FG_BREAKER_MAX_MS / 2 ? 2 * x->pause : FG_BREAKER_MAX_MS;
    x->until = now + x->pause;
}

void fg_breaker_clear(struct fg_breakers *b, uint64_t key) {
    struct fg_breaker *x = b->n ? find(b, key) : NULL;
    if (x)
        *x = b->of[--b->n];
}
