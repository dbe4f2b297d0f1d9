/* client.h - sends what is played: paces it, keeps requests in flight, repeats what was refused, counts what became of
 * it. */
#ifndef WEIR_EMIT_CLIENT_H
#define WEIR_EMIT_CLIENT_H
#include "collector/core/clock.h"
#include "collector/core/error.h"
#include "collector/emit/options.h"
#include "collector/emit/play.h"
#include "collector/rpc/answer.h"

#include <signal.h>

enum { WEIR_EMIT_WAITS = 64 * 8 /* powers of two of ns, each in eight parts */ };

/* Spans: sent == acknowledged + refused + rejected + unknown + (in flight). */
struct weir_emit_counts {
    uint64_t requests, sent;
    uint64_t acknowledged;
    uint64_t refused; /* the whole request, for good */
    uint64_t refused_by[WEIR_RPC_CODES];
    uint64_t rejected; /* partial_success: some of a request */
    uint64_t unknown;  /* no answer: connection lost, or not in time */
    uint64_t retried;  /* requests sent again */
    uint64_t reconnects;
    uint64_t bytes;                  /* of requests, as sent */
    uint64_t began_ns, ended_ns;     /* first request given, last answer */
    uint64_t waits[WEIR_EMIT_WAITS]; /* requests by time to the answer */
    char message[160];               /* the server's, of the last refusal */
};

/* How long share `q` of the answered requests waited at most, as ns; within an eighth. */
uint64_t weir_emit_wait_quantile(const struct weir_emit_counts *counts, double q);

struct weir_emit_client_watch {
    const volatile sig_atomic_t *stop; /* not 0: no more is played; what is in flight is waited for */
    void *self;
    void (*tick)(void *self, uint64_t now_ns); /* now and then, ten times a second or more; may be NULL */
};

/* Until everything that is played has its answer. WEIR_IO: the collector could not be reached, or was away for longer
 * than the time-out; `counts` is right all the same. */
enum weir_status weir_emit_client_run(const struct weir_emit_options *options, struct weir_emit_play *play,
                                      const struct weir_emit_client_watch *watch, struct weir_emit_counts *counts,
                                      struct weir_error *err);
#endif
