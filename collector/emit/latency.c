#include "collector/emit/latency.h"

#include <math.h>

/* The z that a standard normal value stays below with probability p: halving, since it runs 4,097 times and once. */
static double normal_quantile(double p) {
    double low = -5, high = 5;
    for (int i = 0; i < 50; i++) {
        double middle = (low + high) / 2;
        if (0.5 * erfc(-middle / sqrt(2)) < p) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return (low + high) / 2;
}

void weir_emit_latency_init(struct weir_emit_latency *latency, uint64_t median_ns, double sigma) {
    const double hour_ns = 3600e9, end = 1.0 / (4 * WEIR_EMIT_QUANTILES);
    for (int k = 0; k <= WEIR_EMIT_QUANTILES; k++) {
        double p = fmin(fmax((double)k / WEIR_EMIT_QUANTILES, end), 1 - end);
        double ns = sigma == 0 ? (double)median_ns : (double)median_ns * exp(sigma * normal_quantile(p));
        latency->ns[k] = (uint64_t)llround(fmin(ns, hour_ns));
    }
}
