/* dynamic.h - a rate for each key (service, operation, status ...), so that a rule stores what its goal says: so many
 * traces a second, or a share of them. Rare keys are kept, frequent ones pay: all keys that ask for more than the level
 * L get L, where sum min(n, L) = goal over the keys' rates n (max-min fair).
 *
 *   slots of window / 30: arrivals of each key ── slot ends ──> n of the window ──> L ──> p = min(1, L / n) ──> T
 *   (a goal of few traces has fewer slots, 3 at least, so that ten traces a slot are the goal)
 *
 * A rate hangs on how many traces came, never on an R: neither on those of this slot (estimates would be biased), nor
 * on earlier ones. So it may use the arrivals of the slot that runs, which is how bursts are met:
 *   - A key that is new has rate 1 until new keys have used up the goal of the slot, then goal / (their traces so far).
 *   - A key that came more than twice as often as was reckoned with is cut to 2 L / (its traces in the slot so far).
 *   - All keys together are cut likewise at four times the goal.
 *     So a burst of c times what was reckoned with stores 1 + ln c times as much, not c times.
 *   - A key whose last slot was far above its mean of the window counts by that slot: the next slot is on the goal.
 * Traces that an upstream consistent sampler thinned (T_in > 0) all have R >= T_in: p is of what they stand for, so
 * that goals are met there too. Bounded: beyond keys_max traces share one key; a key that did not come for a window
 * gives its place back. One thread; time is given (monotonic ns). */
#ifndef WEIR_SAMPLE_DYNAMIC_H
#define WEIR_SAMPLE_DYNAMIC_H
#include "collector/sample/keep.h"

enum { WEIR_DYNAMIC_SLOTS = 30 };

struct weir_dynamic;

/* config is copied. A goal in traces a second is one of `lanes` equal parts; a share needs no parts. NULL: out of
 * memory. */
struct weir_dynamic *weir_dynamic_new(const struct weir_dynamic_config *config, uint32_t lanes, uint64_t now_ns);
/* Counts the trace, and answers the probability with which it is to be kept, of all that it stands for: in (0, 1].
 * *overflowed: it shares the one key for all the rest. Ends slots that are over. */
double weir_dynamic_rate(struct weir_dynamic *dynamic, const struct weir_trace *trace, uint64_t now_ns,
                         bool *overflowed);
/* Ends slots that are over. */
void weir_dynamic_tick(struct weir_dynamic *dynamic, uint64_t now_ns);
uint32_t weir_dynamic_keys(const struct weir_dynamic *dynamic);   /* now, without the shared one */
uint64_t weir_dynamic_memory(const struct weir_dynamic *dynamic); /* bytes in use: of keys that are there */
void weir_dynamic_free(struct weir_dynamic *dynamic);             /* accepts NULL */

/* L such that the sum of min(rates[i], L) is `goal`; where there is less than that, the level to which one more key
 * could rise. Sorts `rates`. */
double weir_dynamic_level(double *rates, uint32_t count, double goal);
#endif
