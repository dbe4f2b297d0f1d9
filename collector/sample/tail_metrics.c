#include "collector/sample/tail_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY                                                                                                         \
    "Bytes of undecided spans in their blocks, of pending traces, of remembered decisions, and of what rules count."
#define DECIDED    "Traces decided, by what made it time: see docs/sampling.md."
#define LATE       "Spans that came when their trace was decided: they follow the decision."
#define REMEMBERED "Decisions that late spans are held against."
#define CAUSES(first, verdict)                                                                                         \
    [first + WEIR_CAUSE_ROOT] = {"tail_traces_decided_total", "cause=\"root\",verdict=\"" verdict "\"", WEIR_COUNTER,  \
                                 DECIDED},                                                                             \
             [first + WEIR_CAUSE_WAIT] = {"tail_traces_decided_total", "cause=\"wait\",verdict=\"" verdict "\"",       \
                                          WEIR_COUNTER, DECIDED},                                                      \
             [first + WEIR_CAUSE_SIZE] = {"tail_traces_decided_total", "cause=\"size\",verdict=\"" verdict "\"",       \
                                          WEIR_COUNTER, DECIDED},                                                      \
             [first + WEIR_CAUSE_MEMORY] = {"tail_traces_decided_total", "cause=\"memory\",verdict=\"" verdict "\"",   \
                                            WEIR_COUNTER, DECIDED},                                                    \
             [first + WEIR_CAUSE_DRAIN] = {"tail_traces_decided_total", "cause=\"drain\",verdict=\"" verdict "\"",     \
                                           WEIR_COUNTER, DECIDED}

static const struct weir_metric tail_metrics[WEIR_TAIL_METRICS] = {
    [WEIR_TAIL_PENDING_TRACES] = {"tail_pending_traces", NULL, WEIR_GAUGE, "Traces that are not decided."},
    [WEIR_TAIL_PENDING_SPANS] = {"tail_pending_spans", NULL, WEIR_GAUGE, "Spans of traces that are not decided."},
    [WEIR_TAIL_MEMORY_BLOCKS] = {"tail_memory_bytes", "part=\"blocks\"", WEIR_GAUGE, MEMORY},
    [WEIR_TAIL_MEMORY_TRACES] = {"tail_memory_bytes", "part=\"traces\"", WEIR_GAUGE, MEMORY},
    [WEIR_TAIL_MEMORY_DECISIONS] = {"tail_memory_bytes", "part=\"decisions\"", WEIR_GAUGE, MEMORY},
    [WEIR_TAIL_MEMORY_RULES] = {"tail_memory_bytes", "part=\"rules\"", WEIR_GAUGE, MEMORY},
    [WEIR_TAIL_MEMORY_LIMIT] = {"tail_memory_limit_bytes", NULL, WEIR_GAUGE, "keep.memory of sampling.yaml."},
    [WEIR_TAIL_BYTES_PER_SPAN] = {"tail_bytes_per_span", NULL, WEIR_GAUGE_MAX,
                                  "What an undecided span costs: blocks and traces over spans, of the lane where it is "
                                  "most."},
    [WEIR_TAIL_REWRITTEN] = {"tail_blocks_rewritten_total", NULL, WEIR_COUNTER,
                             "Blocks of which most was decided, and the rest written anew to give their memory back."},
    [WEIR_TAIL_NO_ROOT] = {"tail_traces_without_root_total", NULL, WEIR_COUNTER,
                           "Traces decided without their root: it came elsewhere, late, or never."},
    [WEIR_TAIL_AGE] = {"tail_trace_age_seconds_total", NULL, WEIR_COUNTER_NS,
                       "Time from a trace's first span to its decision, added up."},
    [WEIR_TAIL_LATE_KEPT] = {"tail_late_spans_total", "verdict=\"kept\"", WEIR_COUNTER, LATE},
    [WEIR_TAIL_LATE_DROPPED] = {"tail_late_spans_total", "verdict=\"dropped\"", WEIR_COUNTER, LATE},
    [WEIR_TAIL_LATE_WOULD] = {"tail_late_spans_would_keep_total", NULL, WEIR_COUNTER,
                              "Late spans of dropped traces that match a rule which would have kept the trace."},
    [WEIR_TAIL_REMEMBERED_KEPT] = {"tail_decisions_remembered", "verdict=\"kept\"", WEIR_GAUGE, REMEMBERED},
    [WEIR_TAIL_REMEMBERED_DROPPED] = {"tail_decisions_remembered", "verdict=\"dropped\"", WEIR_GAUGE, REMEMBERED},
    [WEIR_TAIL_FALSE_DROPS] = {"tail_decisions_false_drop_ratio", NULL, WEIR_RATIO_MAX,
                               "How likely a new trace is taken for one that was dropped, by its fingerprint; of the "
                               "lane where it is most."},
    [WEIR_TAIL_KEYS] = {"sampling_dynamic_keys", NULL, WEIR_GAUGE, "Keys that dynamic rates are worked out for."},
    [WEIR_TAIL_KEYS_OVERFLOWED] = {"sampling_dynamic_keys_overflow_total", NULL, WEIR_COUNTER,
                                   "Traces whose key found no room (max_keys) and that share one rate."},
    CAUSES(WEIR_TAIL_CAUSE_KEPT, "kept"),
    CAUSES(WEIR_TAIL_CAUSE_DROPPED, "dropped"),
};

enum { RULE_KEPT, RULE_DROPPED, RULE_DRY_KEPT, RULE_DRY_DROPPED, RULE_METRICS };
#define RULE_HELP                                                                                                      \
    "Traces whose first match the rule is. dry_...: what a dry run would have done; none and forced are no rules of "  \
    "a file."
static const struct weir_metric rule_metrics[RULE_METRICS] = {
    [RULE_KEPT] = {"sampling_rule_traces_total", "verdict=\"kept\"", WEIR_COUNTER, RULE_HELP},
    [RULE_DROPPED] = {"sampling_rule_traces_total", "verdict=\"dropped\"", WEIR_COUNTER, RULE_HELP},
    [RULE_DRY_KEPT] = {"sampling_rule_traces_total", "verdict=\"dry_kept\"", WEIR_COUNTER, RULE_HELP},
    [RULE_DRY_DROPPED] = {"sampling_rule_traces_total", "verdict=\"dry_dropped\"", WEIR_COUNTER, RULE_HELP},
};

bool weir_tail_metrics_open(struct weir_tail *tail) {
    tail->metrics = weir_metrics_open(tail->env.metrics, tail_metrics, WEIR_TAIL_METRICS, NULL);
    tail->rule_sets = calloc(WEIR_RULE_SETS_MAX, sizeof *tail->rule_sets);
    return tail->metrics != NULL && tail->rule_sets != NULL;
}

void weir_tail_metrics_close(struct weir_tail *tail) {
    for (uint32_t i = 0; i < tail->rule_set_count; i++)
        weir_metrics_close(tail->env.metrics, tail->rule_sets[i].set);
    free(tail->rule_sets);
    weir_metrics_close(tail->env.metrics, tail->metrics);
}

/* Counters of a rule live on with its name, through any number of reloads; those of too many names share "other". NULL:
 * out of memory. */
// NOLINTNEXTLINE(misc-no-recursion): once
static struct weir_metric_set *rule_set(struct weir_tail *tail, const char *policy, uint32_t name_id) {
    for (uint32_t i = 0; i < tail->rule_set_count; i++) {
        const struct weir_rule_set *known = &tail->rule_sets[i];
        if (known->rule_name == name_id && strcmp(known->policy, policy) == 0) return known->set;
    }
    bool other = name_id == WEIR_NAME_NONE; /* one of each policy */
    if (!other && tail->rule_set_count >= WEIR_RULE_SETS_MAX - 2) return rule_set(tail, policy, WEIR_NAME_NONE);
    char name[140], labels[200];
    size_t at = 0;
    for (const char *from = other ? "other" : weir_names_text(tail->env.names, name_id, NULL);
         *from != 0 && at < sizeof name - 2; from++) {
        if (*from == '"' || *from == '\\' || *from == '\n') name[at++] = '\\';
        name[at++] = *from == '\n' ? 'n' : *from;
    }
    name[at] = 0;
    snprintf(labels, sizeof labels, "policy=\"%s\",rule=\"%s\"", policy, name);
    struct weir_rule_set *made = &tail->rule_sets[tail->rule_set_count];
    made->set = weir_metrics_open(tail->env.metrics, rule_metrics, RULE_METRICS, labels);
    if (made->set == NULL) return NULL;
    snprintf(made->policy, sizeof made->policy, "%s", policy);
    made->rule_name = name_id;
    tail->rule_set_count++;
    return made->set;
}

static void tell_rule(struct weir_tail *tail, const char *policy, uint32_t name_id, uint64_t kept, uint64_t dropped,
                      uint64_t dry_kept, uint64_t dry_dropped) {
    struct weir_metric_set *set = rule_set(tail, policy, name_id);
    if (set == NULL) return;
    weir_count(set, RULE_KEPT, kept);
    weir_count(set, RULE_DROPPED, dropped);
    weir_count(set, RULE_DRY_KEPT, dry_kept);
    weir_count(set, RULE_DRY_DROPPED, dry_dropped);
}

static void tell_decider(struct weir_tail *tail, const char *policy, const struct weir_keep *keep,
                         const struct weir_decider *decider, struct weir_decider_counts *told) {
    const struct weir_decider_counts *now = weir_decider_counts(decider);
    for (uint32_t r = 0; r < keep->rule_count; r++) {
        tell_rule(tail, policy, keep->rules[r].name_id, now->kept[r] - told->kept[r],
                  now->dropped[r] - told->dropped[r], now->dry_kept[r] - told->dry_kept[r],
                  (now->dry_matched[r] - now->dry_kept[r]) - (told->dry_matched[r] - told->dry_kept[r]));
    }
    for (uint32_t r = WEIR_KEEP_RULES_MAX; r < WEIR_KEEP_RULES_MAX + 2; r++) {
        tell_rule(tail, policy, r == WEIR_KEEP_RULES_MAX ? keep->none_id : keep->forced_id,
                  now->kept[r] - told->kept[r], now->dropped[r] - told->dropped[r], 0, 0);
    }
    weir_count(tail->metrics, WEIR_TAIL_KEYS_OVERFLOWED, now->keys_overflowed - told->keys_overflowed);
    *told = *now;
}

void weir_generation_tell(struct weir_tail *tail, struct weir_generation *generation) {
    if (generation->decider != NULL)
        tell_decider(tail, "live", generation->keep, generation->decider, &generation->told);
    if (generation->shadow != NULL)
        tell_decider(tail, "shadow", generation->shadow_keep, generation->shadow, &generation->shadow_told);
}

void weir_tail_metrics_tell(struct weir_tail *tail) {
    uint64_t blocks = weir_blocks_memory(tail->blocks), keys = 0;
    for (int g = 0; g < WEIR_GENERATIONS; g++) {
        weir_generation_tell(tail, &tail->generations[g]);
        keys += tail->generations[g].told.keys;
    }
    weir_gauge(tail->metrics, WEIR_TAIL_PENDING_TRACES, tail->pendings.count);
    weir_gauge(tail->metrics, WEIR_TAIL_PENDING_SPANS, tail->spans);
    weir_gauge(tail->metrics, WEIR_TAIL_MEMORY_BLOCKS, blocks);
    weir_gauge(tail->metrics, WEIR_TAIL_MEMORY_TRACES, weir_pendings_memory(&tail->pendings));
    weir_gauge(tail->metrics, WEIR_TAIL_MEMORY_DECISIONS, weir_decisions_memory(tail->decisions));
    weir_gauge(tail->metrics, WEIR_TAIL_MEMORY_RULES, weir_tail_rules_memory(tail));
    weir_gauge(tail->metrics, WEIR_TAIL_MEMORY_LIMIT, tail->limit_bytes);
    weir_gauge(tail->metrics, WEIR_TAIL_BYTES_PER_SPAN,
               tail->spans > 0 ? (blocks + weir_pendings_memory(&tail->pendings)) / tail->spans : 0);
    weir_gauge(tail->metrics, WEIR_TAIL_REMEMBERED_KEPT, weir_decisions_kept(tail->decisions));
    weir_gauge(tail->metrics, WEIR_TAIL_REMEMBERED_DROPPED, weir_decisions_dropped(tail->decisions));
    weir_gauge_ratio(tail->metrics, WEIR_TAIL_FALSE_DROPS, weir_decisions_false_drop_rate(tail->decisions));
    weir_gauge(tail->metrics, WEIR_TAIL_KEYS, keys);
}
