/* Circuit breakers of filter stages, one for each phase: a stage over which plugin processes die, or that keeps a worker's thread
 * too long, again and again gets no calls for a while, and then one at a time until it does well.
 *
 * They are keyed by what a stage is, so that they outlive the plugin process and reloads. A stage that does well has none.
 */
#ifndef FG_BREAKER_H
#define FG_BREAKER_H

#include "fg_base.h"

enum { FG_BREAKERS = 64, FG_BREAKER_STRIKES = 3, FG_BREAKER_MIN_MS = 1000, FG_BREAKER_MAX_MS = 60000 };

struct fg_breaker {
    uint64_t key;     /* fg_img_stage.key, which is a hash, + the phase */
    uint64_t event;   /* the last one that it was struck for */
    uint64_t until;   /* ms: no call before; 0: it is closed */
    uint32_t pause;   /* ms, as it opened last */
    uint32_t strikes; /* in a row */
};

struct fg_breakers {
    unsigned n;       /* in use, the first of the array; more stages than fit are not watched */
    struct fg_breaker of[FG_BREAKERS];
};

/* May the stage be called at `now` (ms)? At the end of a pause one call may, and no other before the pause is over again. */
bool fg_breaker_lets(struct fg_breakers *b, uint64_t key, uint64_t now);

/* It was fatal; a process that dies is one event, however many calls it takes along. The third one in a row opens. */
void fg_breaker_strike(struct fg_breakers *b, uint64_t key, uint64_t event, uint64_t now);

/* It did well. */
void fg_breaker_clear(struct fg_breakers *b, uint64_t key);

#endif
