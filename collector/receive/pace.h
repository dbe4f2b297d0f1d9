/* pace.h - how slowly a message may come. Its memory is memory.intake's, and others need it: whoever sent much of one
 * and then a byte now and then would hold it for hours, at no cost. */
#ifndef WEIR_RECEIVE_PACE_H
#define WEIR_RECEIVE_PACE_H
#include <stdbool.h>
#include <stdint.h>

/* 16 MiB, the largest message by default, are kept for less than ten minutes. A sender on a line of 256 kbit/s is as
 * fast, and has the grace besides. */
enum { WEIR_PACE_BYTES_S = 32 * 1024 };

/* Is a message that began at `began_ns`, and of which so many bytes came since, slower than that, behind `grace_ns`? */
static inline bool weir_pace_is_slow(uint64_t began_ns, uint64_t now_ns, uint64_t grace_ns, uint64_t bytes) {
    return now_ns - began_ns > grace_ns + bytes * (1000000000ull / WEIR_PACE_BYTES_S);
}
#endif
