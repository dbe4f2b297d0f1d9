/* control_flow.c - traces a second, estimated of traces that came and what they stand for.
 *
 * n roots of weight w say n w, give or take w sqrt(n). So the window is as long as that takes: `slow` remembers some
 * 400 roots, of 10 to 300 seconds. Where the last step, or the last seconds (`fast`), cannot be chance, what was
 * remembered before is of another load, and is forgotten. */
#include "collector/sample/control_inside.h"

#include <math.h>

#define FAST_S        4.0
#define SLOW_S_MIN    10.0
#define SLOW_S_MAX    300.0
#define SLOW_ROOTS    200.0 /* an error of 5 %: a sum that decays in t is as good as a window of 2 t */
#define STEP_SIGMAS   5.0   /* once in 3 million steps by chance */
#define FAST_SIGMAS   4.0
#define TREND_S       15.0
#define TREND_SIGMAS  2.0
#define UNFALLEN_S    45.0
#define TREND_JUMP    0.2 /* what jumps further is no trend */
#define SPREAD_LEARN  0.2 /* a step */
#define SPREAD_MAX    1000.0
#define LUMPS         4.0
#define UPPER_QUARTER 1.32 /* of the square of a normal number */

static void add(struct control_sums *sums, const struct control_sums *step, double memory_s) {
    double left = exp(-step->seconds / memory_s);
    sums->roots = sums->roots * left + step->roots;
    sums->traces = sums->traces * left + step->traces;
    sums->variance = sums->variance * left * left + step->variance;
    sums->seconds = sums->seconds * left + step->seconds;
}

static double rate_of(const struct control_sums *sums) {
    return sums->seconds > 0 ? sums->traces / sums->seconds : 0;
}

void weir_control_flow_start(struct control_flow *flow, double age) {
    *flow = (struct control_flow){.weight = 1, .spread = 1};
    flow->slow.seconds = age < SLOW_S_MIN ? age : SLOW_S_MIN;
}

/* Standard deviations between what `sums` says and the rate that was taken for true. */
static double surprise(const struct control_flow *flow, const struct control_sums *sums, double rate, double error) {
    double expected = rate * sums->seconds * flow->weight;
    double variance = fmax(sums->variance, expected) * flow->spread + flow->weight * flow->weight;
    double both = variance / (sums->seconds * sums->seconds) + error * error;
    return both > 0 ? fabs(rate_of(sums) - rate) / sqrt(both) : 0;
}

static double error_of(const struct control_flow *flow, const struct control_sums *sums) {
    return sums->seconds > 0 ? sqrt(sums->variance + flow->weight * flow->weight) / sums->seconds : 0;
}

/* Spans come in lumps where exporters send every few seconds: what varies from step to step proves nothing. A quarter
 * of all differences may be larger without being lumps, so that a load that comes and goes is no noise. */
static void learn_spread(struct control_flow *flow, const struct control_sums *step) {
    double rate = rate_of(step), mean = (rate + flow->last) / 2, variance = mean * flow->weight / step->seconds;
    double off = rate - flow->last;
    flow->last = rate;
    if (!(variance > 0)) return;
    bool larger = off * off / (2 * variance) > flow->spread * UPPER_QUARTER;
    flow->spread *= exp(SPREAD_LEARN * (larger ? 0.75 : -0.25));
    flow->spread = fmin(fmax(flow->spread, 1), SPREAD_MAX);
}

static void learn_trend(struct control_flow *flow, const struct control_sums *step) {
    if (flow->trend.seconds == 0) flow->trailing = flow->trailing_s = flow->unfallen_s = 0;
    add(&flow->trend, step, TREND_S);
    double left = exp(-step->seconds / TREND_S), sum = flow->trailing * flow->trailing_s * left;
    flow->trailing_s = flow->trailing_s * left + step->seconds;
    flow->trailing = (sum + rate_of(&flow->trend) * step->seconds) / flow->trailing_s;
    bool falls = rate_of(&flow->trend) < flow->trailing;
    flow->unfallen_s = falls ? 0 : flow->unfallen_s + step->seconds;
}

void weir_control_flow_add(struct control_flow *flow, double roots, double traces, double variance, double seconds) {
    struct control_sums step = {roots, traces, variance, seconds};
    if (roots > 0) flow->weight = traces / roots;
    double rate = rate_of(&flow->slow), error = error_of(flow, &flow->slow);
    bool begun = flow->begun;
    flow->begun = flow->begun || roots > 0;
    double step_surprise = begun ? surprise(flow, &step, rate, error) : 0;
    if (begun) learn_spread(flow, &step);

    double per_second = flow->slow.seconds > 0 ? flow->slow.roots / flow->slow.seconds : 0;
    double memory_s = per_second > 0 ? SLOW_ROOTS / per_second : SLOW_S_MAX;
    add(&flow->fast, &step, FAST_S);
    double shortest_s = SLOW_S_MIN * fmin(sqrt(flow->spread), LUMPS); /* a window of many lumps */
    add(&flow->slow, &step, fmin(fmax(memory_s, shortest_s), SLOW_S_MAX));
    bool jumped = step_surprise > STEP_SIGMAS && rate_of(&step) > rate; /* a gap of a second is no news */
    if (jumped) {
        flow->fast = flow->slow = step;
    } else if (begun && flow->fast.seconds > FAST_S / 2 && surprise(flow, &flow->fast, rate, error) > FAST_SIGMAS) {
        flow->slow = flow->fast;
        jumped = true;
    }
    if (jumped && fabs(rate_of(&flow->slow) - rate) > TREND_JUMP * rate) flow->trend = (struct control_sums){0};
    learn_trend(flow, &step);
}

double weir_control_flow_rate(const struct control_flow *flow) {
    return rate_of(&flow->slow);
}

double weir_control_flow_error(const struct control_flow *flow) {
    return error_of(flow, &flow->slow);
}

/* Two means of which the second follows the first: under a steady growth it is TREND_S of it behind. What fell a moment
 * ago comes and goes, and grows no further than it was. */
double weir_control_flow_ahead(const struct control_flow *flow, double ahead_s) {
    double rate = rate_of(&flow->slow), level = rate_of(&flow->trend);
    if (!(level > 0) || flow->trailing_s < TREND_S * 0.75 || flow->unfallen_s < UNFALLEN_S) return rate;
    double growth = (level - flow->trailing) / (TREND_S * level);
    double error = sqrt(flow->trend.variance) / flow->trend.seconds / level / TREND_S;
    double sure = growth - TREND_SIGMAS * error;
    if (!(sure > 0)) return rate;
    /* `slow` itself is behind by as long as it remembers. */
    return fmax(rate, level * exp(fmin(growth * (TREND_S + ahead_s), 2)));
}
