/* policy.h - sampling.yaml as an immutable table, and what one span alone can be decided by (docs/sampling.md).
 * Pure: no clock, no I/O after loading. Sources: OpenTelemetry "TraceState: Probability Sampling" (th, rv, 56 bits). */
#ifndef WEIR_SAMPLE_POLICY_H
#define WEIR_SAMPLE_POLICY_H
#include "collector/core/error.h"
#include "collector/core/names.h"
#include "collector/core/span.h"

struct weir_keep;
struct weir_policy;
struct weir_proxies;

/* path NULL or "": keeps everything. On failure err->text is "file:line: reason" and *policy is untouched. Names in it
 * are interned. */
enum weir_status weir_policy_load(const char *path, struct weir_names *names, struct weir_policy **policy,
                                  struct weir_error *err);
/* A shadow: only its `keep:` is asked. path NULL or "": *policy stays NULL. WEIR_INVALID also for one without. */
enum weir_status weir_policy_load_shadow(const char *path, struct weir_names *names, struct weir_policy **policy,
                                         struct weir_error *err);
/* A canary: only its `proxies:` is told. path NULL or "": *policy stays NULL. WEIR_INVALID also for one without. */
enum weir_status weir_policy_load_canary(const char *path, struct weir_names *names, struct weir_policy **policy,
                                         struct weir_error *err);
/* The same from memory; `name` is for errors. */
enum weir_status weir_policy_parse(const char *name, const uint8_t *bytes, size_t size, struct weir_names *names,
                                   struct weir_policy **policy, struct weir_error *err);
struct weir_policy *weir_policy_ref(struct weir_policy *policy);
void weir_policy_unref(struct weir_policy *policy);             /* the last one frees; accepts NULL */
bool weir_policy_keeps_all(const struct weir_policy *policy);   /* then weir_policy_keep() need not be asked */
uint64_t weir_policy_version(const struct weir_policy *policy); /* hash of the file's bytes */
const struct weir_keep *
weir_policy_keep_part(const struct weir_policy *policy); /* keep.h; NULL: nothing is held back */
const struct weir_proxies *
weir_policy_proxies(const struct weir_policy *policy); /* proxies.h; NULL: the file tells proxies nothing */

/* What of it can have no effect, with its line, for `weir check`. It is no error: what is not asked does no harm.
 *   receivers_on   bit r: receiver r (enum weir_receiver_id) listens */
void weir_policy_remarks(const struct weir_policy *policy, uint32_t receivers_on,
                         void (*say)(void *self, int line, const char *text), void *self);

/* Where a span's weight comes from, the first that is known: what it carries (th, prior), what `sources:` declares for
 * its receiver or service, the policy that its sender follows (WEIR_SPAN_BY_POLICY), else 1. A declared rate sets prior
 * and WEIR_SPAN_PRIOR_CHANGED. */
enum weir_weight_source {
    WEIR_WEIGHT_CARRIED,
    WEIR_WEIGHT_TRACE, /* carried by another span of its trace: the lane says it (lane/join.h) */
    WEIR_WEIGHT_DECLARED,
    WEIR_WEIGHT_POLICY, /* of the proxy that began the trace, by the policy that it follows: lane/weigh.c */
    WEIR_WEIGHT_UNKNOWN,
    WEIR_WEIGHT_SOURCES
};
enum weir_weight_source weir_policy_weigh(const struct weir_policy *policy, const char *receiver,
                                          struct weir_span *span);

/* `collector: { rate, services: { S: { rate, operations: { O: { rate } } } } }`: true = keep, with the threshold raised
 * to that of the rate where it was lower (and WEIR_SPAN_TH_CHANGED). Equalizing: a rate says what is to be left of
 * everything, so a span that was already thinned as much or more upstream is kept as it is. The most specific rate
 * counts: operation, service, collector; a service without a rate has the collector's. Forced spans are kept as they
 * are. */
bool weir_policy_keep(const struct weir_policy *policy, struct weir_span *span);

/* The threshold of a probability in (0, 1]: (1 - p) x 2^56, rounded to the nearest; p = 0 gives WEIR_THRESHOLD_MAX
 * (nothing). */
uint64_t weir_threshold_of(double probability);
/* Raises to `threshold`: true = keep (R >= T). Forced spans are kept as they are. Used by the rule above and by
 * overload. */
bool weir_threshold_raise(struct weir_span *span, uint64_t threshold);
#endif
