/* concurrency.h - how many batches an exporter has under way: more while answers take no longer for it, fewer when they
 * do, or when the back end fails. Pure: no clock, no lock of its own.
 *
 * By Little's law a back end that has room answers as fast with one batch more in flight; one that has none makes them
 * wait in a queue of its own, which helps nobody. So the mean latency of a window (some answers, or the time of one) is
 * held against the base, what an answer takes when there is room:
 *
 *   mean < 1.5 x base, and the limit was met     one more
 *   mean > 2 x base                              a tenth less
 *   a batch has to be sent again                 half, once a window
 *
 * In between nothing changes, so that noise does not move it. A base that was not met for a minute is measured anew,
 * with half the limit for one window: else a back end that became slower for good would be taken for a full one, and a
 * queue that the limit itself made for its base. Sources: RFC 5681 3.1 (halving), Brakmo and Peterson, "TCP Vegas"
 * (1995: the base), draft-cardwell-iccrg-bbr 4.3.4 (ProbeRTT). */
#ifndef WEIR_SPOOL_CONCURRENCY_H
#define WEIR_SPOOL_CONCURRENCY_H
#include <stdbool.h>
#include <stdint.h>

struct weir_concurrency {
    uint32_t most;
    double limit;     /* 1 to most */
    uint64_t base_ns; /* 0: not known yet */
    uint64_t base_met_ns, measures_ns, window_ends_ns;
    uint64_t sum_ns;
    uint32_t count;
    double restore; /* measuring the base: the limit before; 0: not measuring */
    bool reached, failed, armed;
};

/* most: 1 or more. */
void weir_concurrency_init(struct weir_concurrency *limiter, uint32_t most);
/* Another bound, live. */
void weir_concurrency_bound(struct weir_concurrency *limiter, uint32_t most);
/* How many may be under way. */
uint32_t weir_concurrency_limit(const struct weir_concurrency *limiter);
/* One more was wanted, and the limit was in the way. */
void weir_concurrency_met(struct weir_concurrency *limiter);
/* A batch was answered after latency_ns; answered: it need not be sent again. now_ns is monotonic. */
void weir_concurrency_settled(struct weir_concurrency *limiter, uint64_t now_ns, uint64_t latency_ns, bool answered);
#endif
