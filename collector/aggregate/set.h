/* set.h - how many distinct members came in a window (StatsD sets), in bounded memory: exact up to 256, then
 * HyperLogLog with 4,096 registers (4 KiB, standard error 1.6 %). Source: Flajolet et al., "HyperLogLog", 2007; linear
 * counting below 2.5 m. */
#ifndef WEIR_AGGREGATE_SET_H
#define WEIR_AGGREGATE_SET_H
#include <stdbool.h>
#include <stdint.h>

struct weir_set;

struct weir_set *weir_set_new(uint64_t now_ns);
void weir_set_free(struct weir_set *set); /* accepts NULL */
/* member: a hash of 64 even bits. False: out of memory, not counted. */
bool weir_set_add(struct weir_set *set, uint64_t member);
/* Starts the next window when the present one is over. True: the value changed. */
bool weir_set_roll(struct weir_set *set, uint64_t window_ns, uint64_t now_ns);
/* The larger of the last whole window and the present one so far: a scrape at any moment sees a whole window. */
double weir_set_value(const struct weir_set *set);
#endif
