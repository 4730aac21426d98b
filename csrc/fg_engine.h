/* The engine as its host sees it: one worker, one event loop, run by the calling thread until STOP or the end of a drain.
 *
 * The host (core/engine.pyx) gives the functions that Cython implements and two descriptors; everything else arrives on
 * the control socket, read by the loop itself: no call into the engine from another thread exists.
 */
#ifndef FG_ENGINE_H
#define FG_ENGINE_H

#include "fg_http1.h"
#include "fg_image.h"

struct fg_records;

/* Runs the inline stages of `n` bytes of calls (fg_call.h) and appends a verdict for each that needs one. */
typedef void (*fg_run_filters_fn)(const uint8_t *calls, size_t n, struct fg_records *verdicts);

/* Makes the filters of an inline stage, unless it knows the key, and keeps them for `owner`. Runs on a helper thread. 0, or -1
 * with a sentence in `why`. */
typedef int (*fg_prepare_stage_fn)(const void *owner, uint64_t key, const uint8_t *spec, size_t n, char *why, size_t why_size);

/* Ends the filters that were kept for this owner and are for no other. */
typedef void (*fg_release_stages_fn)(const void *owner);

struct fg_functions {
    fg_h1_request_fn parse_request;
    fg_h1_response_fn parse_response;
    fg_h1_trailers_fn parse_trailers;
    fg_h1_chunk_fn next_chunk;
    fg_path_normalize_fn normalize_path;
    fg_client_hello_fn peek_client_hello;
    fg_image_open_fn open_image;
    fg_image_close_fn close_image;
    fg_match_fn match;
    fg_find_host_fn find_host;
    fg_run_filters_fn run_filters;       /* NULL: this host runs none */
    fg_prepare_stage_fn prepare_stage;
    fg_release_stages_fn release_stages;
};

struct fg_engine_options {
    int control_fd;          /* SOCK_SEQPACKET, see fg_control.h */
    int stats_fd;            /* memfd of fg_stats_size() bytes */
    int log_fd;              /* where access log lines go; -1: nowhere */
    int adopt_fd;            /* bound SOCK_SEQPACKET socket that a later manager connects to; -1: there will be none */
    uint32_t worker;         /* 0 .. workers-1 */
    uint32_t workers;
    uint32_t orphan_timeout; /* ms to serve on after the control socket closed, before draining */
    uint64_t memory_limit;   /* bytes of connection memory, above which requests get 503 and accepting pauses; 0: none */
    bool http2;              /* provisional: HTTP/2 is spoken with clients that begin with it (docs/design/120-http2.md) */
    const char *build;       /* names the code that runs, for a manager that may be of another; outlives the engine */
};

struct fg_engine;

/* The three descriptors become the engine's, also when it cannot be made. */
struct fg_engine *fg_engine_new(const struct fg_functions *functions, const struct fg_engine_options *options);
int fg_engine_run(struct fg_engine *e);  /* 0: stopped as asked */
void fg_engine_free(struct fg_engine *e);

#endif
