/* limit.h - at most so many traces a second, and an honest weight for each: bottom-k sampling of one lane.
 *
 *   window: the k traces with the largest R wait ── R of the best that was left out: `bar` ── end: T' = max(T, bar + 1)
 *
 * With the (k+1)-th largest R as threshold, and that trace itself left out, the estimate is unbiased: whether a trace
 * is kept hangs on its own R and on the R of others, never on a number that it made itself (Duffield, Lund, Thorup,
 * "Priority sampling for estimation of arbitrary subset sums", J. ACM 54(6), 2007). `bar + 1`, because a trace is kept
 * when R >= T and the one at the bar is not; so equal R are also right. A trace at or below the bar can no more be
 * kept: it is refused at once. Windows end by the clock, which knows no R. One thread; time is given (monotonic ns). */
#ifndef WEIR_SAMPLE_LIMIT_H
#define WEIR_SAMPLE_LIMIT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_LIMIT_K_MIN = 10 }; /* the standard error of one window is 1 / sqrt(k - 1): 33 % at 10 */

struct weir_limit_entry {
    uint64_t randomness, threshold; /* R; T by what came before the limit */
    uint32_t handle;                /* the caller's */
};
struct weir_limit {
    uint32_t k;
    uint64_t window_ns, end_ns;
    bool any_left_out;                /* in this window */
    uint64_t bar;                     /* the largest R that was left out; when there is one */
    uint32_t count, capacity;         /* of waiting[]; grows up to k */
    struct weir_limit_entry *waiting; /* a heap: the smallest R first */
};

/* traces_per_second > 0: this lane's part. The window is 1 s, or as long as k >= 10 needs; k whole, and the window as
 * much longer. Takes no memory yet. */
void weir_limit_open(struct weir_limit *limit, double traces_per_second, uint64_t now_ns);
void weir_limit_close(struct weir_limit *limit); /* what waits is forgotten */

enum weir_limit_answer {
    WEIR_LIMIT_WAITS,
    WEIR_LIMIT_REPLACES, /* waits, and *out lost its place: it is left out */
    WEIR_LIMIT_LEFT_OUT, /* *threshold is T as far as it is known now: R is below it */
};
/* A trace that passed T. The window must not be over (weir_limit_over). Without memory for one more it is as if k were
 * what there is room for: fewer are kept, with the weight that says so. */
enum weir_limit_answer weir_limit_offer(struct weir_limit *limit, const struct weir_limit_entry *entry,
                                        struct weir_limit_entry *out, uint64_t *threshold);
bool weir_limit_over(const struct weir_limit *limit, uint64_t now_ns);
/* Ends the window, at its time or before it, and begins the next. What waited is handed over: the caller frees
 * *entries (NULL when nothing did). Returns how many. *bar: T' of an entry is the larger of it and of its own
 * threshold; the entry is kept when its R >= T' (where R are equal, none of the equals may be). */
uint32_t weir_limit_end(struct weir_limit *limit, uint64_t now_ns, struct weir_limit_entry **entries, uint64_t *bar);
#endif
