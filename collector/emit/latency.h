/* latency.h - log-normal times, drawn from a table of quantiles: exp() and log() a span would cost more than the span.
 */
#ifndef WEIR_EMIT_LATENCY_H
#define WEIR_EMIT_LATENCY_H
#include <stdint.h>

enum { WEIR_EMIT_QUANTILES = 4096 };

struct weir_emit_latency {
    uint64_t ns[WEIR_EMIT_QUANTILES + 1]; /* at k / 4096; the ends are those of 1/16384 and 1 - 1/16384 (3.8 sigma) */
};

/* ln(time) is normal around ln(median) with standard deviation `sigma`; at most an hour. */
void weir_emit_latency_init(struct weir_emit_latency *latency, uint64_t median_ns, double sigma);

/* By the low 24 bits of `bits`: 12 choose the quantile, 12 the place up to the next. */
static inline uint64_t weir_emit_latency_draw(const struct weir_emit_latency *latency, uint64_t bits) {
    const uint64_t *at = latency->ns + (bits & 4095);
    return at[0] + ((at[1] - at[0]) * (bits >> 12 & 4095) >> 12);
}
#endif
