#include "collector/sample/decide.h"

#include "collector/sample/dynamic.h"
#include "collector/sample/limit.h"
#include "collector/sample/policy.h"

#include <stdlib.h>

struct rule_state {
    struct weir_dynamic *dynamic; /* NULL: none */
    uint32_t keys;                /* of it, as counted */
    uint64_t bytes;               /* likewise */
    struct weir_limit limit;
    bool limited;
};

struct weir_decider {
    struct weir_decider_env env;
    struct weir_decider_counts counts;
    struct rule_state rules[WEIR_KEEP_RULES_MAX];
    uint64_t bytes; /* of all of it, itself included */
};

enum { NONE = WEIR_KEEP_RULES_MAX, FORCED = WEIR_KEEP_RULES_MAX + 1 };

struct weir_decider *weir_decider_new(const struct weir_decider_env *env, uint64_t now_ns) {
    struct weir_decider *decider = calloc(1, sizeof *decider);
    if (decider == NULL) return NULL;
    decider->env = *env;
    decider->bytes = sizeof *decider;
    if (decider->env.lanes == 0) decider->env.lanes = 1;
    for (uint32_t r = 0; r < env->keep->rule_count; r++) {
        const struct weir_keep_rule *rule = &env->keep->rules[r];
        struct rule_state *state = &decider->rules[r];
        if (rule->dry_run) continue;
        if (rule->max_traces_per_second > 0) {
            state->limited = true;
            weir_limit_open(&state->limit, rule->max_traces_per_second / decider->env.lanes, now_ns);
        }
        if (rule->dynamic == NULL) continue;
        state->dynamic = weir_dynamic_new(rule->dynamic, decider->env.lanes, now_ns);
        if (state->dynamic == NULL) {
            weir_decider_free(decider);
            return NULL;
        }
        state->bytes = weir_dynamic_memory(state->dynamic);
        decider->bytes += state->bytes;
    }
    return decider;
}

void weir_decider_free(struct weir_decider *decider) {
    if (decider == NULL) return;
    for (uint32_t r = 0; r < WEIR_KEEP_RULES_MAX; r++) {
        weir_dynamic_free(decider->rules[r].dynamic);
        weir_limit_close(&decider->rules[r].limit);
    }
    free(decider);
}

/* ---- verdicts ---- */

static enum weir_decision settle(struct weir_decider *decider, struct weir_verdict *verdict, bool kept) {
    uint32_t index = verdict->rule == WEIR_RULE_NONE     ? (uint32_t)NONE
                     : verdict->rule == WEIR_RULE_FORCED ? (uint32_t)FORCED
                                                         : verdict->rule;
    verdict->kept = kept;
    if (kept)
        decider->counts.kept[index]++;
    else
        decider->counts.dropped[index]++;
    return kept ? WEIR_DECISION_KEPT : WEIR_DECISION_DROPPED;
}

/* One that waited: T' is the larger of its own T and the bar. */
static void resolve(struct weir_decider *decider, uint32_t rule, const struct weir_limit_entry *entry, uint64_t bar) {
    struct weir_verdict verdict = {.rule = (uint16_t)rule, .rule_name = decider->env.keep->rules[rule].name_id};
    verdict.threshold = entry->threshold > bar ? entry->threshold : bar;
    settle(decider, &verdict, entry->randomness >= verdict.threshold);
    if (entry->handle != WEIR_HANDLE_NONE) decider->env.resolved(decider->env.self, entry->handle, &verdict);
}

static void end_window(struct weir_decider *decider, uint32_t rule, uint64_t now_ns) {
    struct weir_limit_entry *entries;
    uint64_t bar;
    decider->bytes -= decider->rules[rule].limit.capacity * sizeof *entries; /* handed over */
    uint32_t count = weir_limit_end(&decider->rules[rule].limit, now_ns, &entries, &bar);
    for (uint32_t i = 0; i < count; i++)
        resolve(decider, rule, &entries[i], bar);
    free(entries);
}

static enum weir_decision offer(struct weir_decider *decider, uint64_t randomness, uint32_t handle, uint64_t now_ns,
                                struct weir_verdict *verdict) {
    struct weir_limit *limit = &decider->rules[verdict->rule].limit;
    if (weir_limit_over(limit, now_ns)) end_window(decider, verdict->rule, now_ns);
    struct weir_limit_entry entry = {randomness, verdict->threshold, handle}, out;
    uint64_t bar;
    uint32_t capacity = limit->capacity;
    enum weir_limit_answer answer = weir_limit_offer(limit, &entry, &out, &bar);
    decider->bytes += (limit->capacity - capacity) * sizeof *limit->waiting;
    switch (answer) {
    case WEIR_LIMIT_REPLACES: resolve(decider, verdict->rule, &out, bar); return WEIR_DECISION_WAITS;
    case WEIR_LIMIT_WAITS: return WEIR_DECISION_WAITS;
    case WEIR_LIMIT_LEFT_OUT: break;
    }
    if (verdict->threshold < bar) verdict->threshold = bar;
    return settle(decider, verdict, false);
}

static void count_dry(struct weir_decider *decider, uint64_t dry, uint64_t randomness) {
    for (; dry != 0; dry &= dry - 1) {
        uint32_t r = (uint32_t)__builtin_ctzll(dry);
        decider->counts.dry_matched[r]++;
        if (randomness >= decider->env.keep->rules[r].threshold) decider->counts.dry_kept[r]++;
    }
}

static void count_keys(struct weir_decider *decider, struct rule_state *state) {
    uint32_t keys = weir_dynamic_keys(state->dynamic);
    decider->counts.keys += keys;
    decider->counts.keys -= state->keys;
    state->keys = keys;
    uint64_t bytes = weir_dynamic_memory(state->dynamic);
    decider->bytes += bytes - state->bytes;
    state->bytes = bytes;
}

enum weir_decision weir_decider_decide(struct weir_decider *decider, const struct weir_trace *trace, uint32_t handle,
                                       uint64_t now_ns, struct weir_verdict *verdict) {
    const struct weir_keep *keep = decider->env.keep;
    uint64_t dry = 0;
    uint16_t r = weir_keep_match(keep, trace, decider->env.shadow ? trace->shadow_passed : trace->passed, &dry);
    count_dry(decider, dry, trace->randomness);
    *verdict = (struct weir_verdict){.rule = r};
    if (r == WEIR_RULE_NONE || r == WEIR_RULE_FORCED) {
        verdict->rule_name = r == WEIR_RULE_NONE ? keep->none_id : keep->forced_id;
        decider->counts.matched[r == WEIR_RULE_NONE ? NONE : FORCED]++;
        return settle(decider, verdict, true);
    }

    const struct weir_keep_rule *rule = &keep->rules[r];
    struct rule_state *state = &decider->rules[r];
    decider->counts.matched[r]++;
    verdict->rule_name = rule->name_id;
    verdict->threshold = rule->threshold;
    if (state->dynamic != NULL) { /* also where the rate leaves it out: keys are counted by what matches */
        bool overflowed;
        uint64_t threshold = weir_threshold_of(weir_dynamic_rate(state->dynamic, trace, now_ns, &overflowed));
        decider->counts.keys_overflowed += overflowed;
        count_keys(decider, state);
        if (threshold > verdict->threshold) verdict->threshold = threshold;
    }
    if (trace->randomness < verdict->threshold) return settle(decider, verdict, false);
    if (!state->limited) return settle(decider, verdict, true);
    return offer(decider, trace->randomness, handle, now_ns, verdict);
}

/* ---- time ---- */

void weir_decider_tick(struct weir_decider *decider, uint64_t now_ns) {
    for (uint32_t r = 0; r < decider->env.keep->rule_count; r++) {
        struct rule_state *state = &decider->rules[r];
        if (state->dynamic != NULL) {
            weir_dynamic_tick(state->dynamic, now_ns);
            count_keys(decider, state);
        }
        if (state->limited && weir_limit_over(&state->limit, now_ns)) end_window(decider, r, now_ns);
    }
}

void weir_decider_flush(struct weir_decider *decider, uint64_t now_ns) {
    for (uint32_t r = 0; r < decider->env.keep->rule_count; r++) {
        if (decider->rules[r].limited) end_window(decider, r, now_ns);
    }
}

/* ---- what it knows ---- */

const struct weir_decider_counts *weir_decider_counts(const struct weir_decider *decider) {
    return &decider->counts;
}

uint64_t weir_decider_memory(const struct weir_decider *decider) {
    return decider->bytes;
}
