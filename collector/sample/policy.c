/* policy.c - what one span alone is decided by; a policy's life. Read from its file by policy_read.c. */
#include "collector/sample/keep.h"
#include "collector/sample/policy_inside.h"
#include "collector/sample/proxies.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- one span ---- */

static inline const struct policy_rate *find_rate(const struct policy_rates *rates, uint64_t key) {
    uint64_t mask = rates->capacity - 1;
    for (uint64_t i = policy_mix(key) >> rates->shift;; i = (i + 1) & mask) {
        const struct policy_rate *rate = &rates->slots[i];
        if (rate->key == key) return rate;
        if (rate->key == 0) return NULL;
    }
}

bool weir_threshold_raise(struct weir_span *span, uint64_t threshold) {
    if (threshold <= span->threshold || (span->flags & WEIR_SPAN_FORCED)) return true;
    if (span->randomness < threshold) return false;
    span->threshold = threshold;
    span->flags |= WEIR_SPAN_TH_CHANGED;
    return true;
}

bool weir_policy_keep(const struct weir_policy *policy, struct weir_span *span) {
    uint64_t threshold = policy->threshold;
    if (policy->rates.count > 0 && span->service != WEIR_NAME_NONE) {
        uint64_t key = (uint64_t)span->service << 32;
        const struct policy_rate *service = find_rate(&policy->rates, key);
        if (service != NULL) {
            threshold = service->threshold;
            const struct policy_rate *operation =
                service->has_operations ? find_rate(&policy->rates, key | span->operation) : NULL;
            if (operation != NULL) threshold = operation->threshold;
        }
    }
    return weir_threshold_raise(span, threshold);
}

static double declared_prior(const struct weir_policy *policy, int receiver, uint32_t service) {
    if (policy->sources != NULL && service != WEIR_NAME_NONE) {
        uint64_t mask = (1ull << (64 - policy->source_shift)) - 1;
        for (uint64_t i = policy_mix(service) >> policy->source_shift; policy->sources[i].service != 0;
             i = (i + 1) & mask) {
            if (policy->sources[i].service == service) return policy->sources[i].prior[receiver];
        }
    }
    return policy->any_service[receiver];
}

enum weir_weight_source weir_policy_weigh(const struct weir_policy *policy, const char *receiver,
                                          struct weir_span *span) {
    if (span->flags & (WEIR_SPAN_TH | WEIR_SPAN_PRIOR)) return WEIR_WEIGHT_CARRIED;
    enum weir_weight_source otherwise = span->flags & WEIR_SPAN_BY_POLICY ? WEIR_WEIGHT_POLICY : WEIR_WEIGHT_UNKNOWN;
    if (!policy->declares) return otherwise;
    int index = policy_receiver(receiver);
    double prior = index < 0 ? 0 : declared_prior(policy, index, span->service);
    if (prior == 0) return otherwise;
    span->flags &= (uint16_t)~WEIR_SPAN_BY_POLICY;
    /* A forced trace passed the source's sampler by: it stands for itself alone. */
    if (prior != 1 && !(span->flags & WEIR_SPAN_FORCED)) {
        span->prior = prior;
        span->flags |= WEIR_SPAN_PRIOR_CHANGED;
    }
    return WEIR_WEIGHT_DECLARED;
}

uint64_t weir_threshold_of(double probability) {
    if (!(probability > 0)) return WEIR_THRESHOLD_MAX;
    if (probability >= 1) return 0;
    /* p x 2^56 is exact in a double, (1 - p) is not. */
    uint64_t kept = (uint64_t)llround(ldexp(probability, 56));
    return WEIR_THRESHOLD_MAX - (kept == 0 ? 1 : kept);
}

/* ---- life ---- */

struct weir_policy *weir_policy_ref(struct weir_policy *policy) {
    atomic_fetch_add_explicit(&policy->refs, 1, memory_order_relaxed);
    return policy;
}

void weir_policy_unref(struct weir_policy *policy) {
    if (policy == NULL || atomic_fetch_sub_explicit(&policy->refs, 1, memory_order_acq_rel) != 1) return;
    free(policy->rates.slots);
    free(policy->sources);
    free(policy->rows);
    weir_keep_free(policy->keep);
    weir_proxies_free(policy->proxies);
    free(policy);
}

bool weir_policy_keeps_all(const struct weir_policy *policy) {
    return policy->keeps_all;
}

const struct weir_keep *weir_policy_keep_part(const struct weir_policy *policy) {
    return policy->keep;
}

const struct weir_proxies *weir_policy_proxies(const struct weir_policy *policy) {
    return policy->proxies;
}

uint64_t weir_policy_version(const struct weir_policy *policy) {
    return policy->version;
}

/* ---- remarks ---- */

/* The lowest threshold that `collector:` gives to anything. */
static uint64_t least_threshold(const struct weir_policy *policy) {
    uint64_t least = policy->threshold;
    for (uint32_t i = 0; i < policy->rates.capacity; i++) {
        if (policy->rates.slots[i].key != 0 && policy->rates.slots[i].threshold < least)
            least = policy->rates.slots[i].threshold;
    }
    return least;
}

static bool covers(const struct policy_source_row *earlier, const struct policy_source_row *row) {
    return (earlier->receiver < 0 || earlier->receiver == row->receiver) &&
           (earlier->service == WEIR_NAME_NONE || earlier->service == row->service);
}

void weir_policy_remarks(const struct weir_policy *policy, uint32_t receivers_on,
                         void (*say)(void *self, int line, const char *text), void *self) {
    char text[160];
    for (uint32_t i = 0; i < policy->row_count; i++) {
        const struct policy_source_row *row = &policy->rows[i], *earlier = policy->rows;
        while (earlier < row && !covers(earlier, row))
            earlier++;
        if (earlier < row) {
            snprintf(text, sizeof text, "sources: this entry is never asked: the one in line %d fits all that it fits",
                     earlier->line);
            say(self, row->line, text);
        } else if (row->receiver >= 0 && (receivers_on >> row->receiver & 1) == 0) {
            snprintf(text, sizeof text, "sources: nothing comes from receiver %s, which is off",
                     weir_receiver_names[row->receiver]);
            say(self, row->line, text);
        }
    }
    if (policy->proxies != NULL) weir_proxies_remarks(policy->proxies, say, self);
    if (policy->keep != NULL) weir_keep_remarks(policy->keep, least_threshold(policy), say, self);
}
