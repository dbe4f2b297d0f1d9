#include "collector/cli/replay/replay.h"
#include "collector/core/clock.h"
#include "collector/sample/decide.h"

#include <stdlib.h>
#include <string.h>

enum { DECIDED_SLOTS = 1 << 20 /* 40 MiB, of which untouched pages cost nothing */ };

/* A trace while a limit's window may still keep it or not. */
struct waiting {
    uint64_t trace_hi, trace_lo;
    uint32_t spans[WEIR_STORED_POLICIES];
    uint64_t bytes[WEIR_STORED_POLICIES];
    uint64_t threshold[WEIR_STORED_POLICIES]; /* that it came with, then that of the verdict if higher */
    uint64_t came_with;
    double prior;
    uint32_t service, operation;
    uint16_t row[WEIR_STORED_POLICIES];
    uint8_t undecided, kept; /* bits by policy */
    bool error;
    uint32_t free_next; /* + 1 */
};

/* What became of a trace, for spans that come later. A newer one takes its place. */
struct decided {
    uint64_t trace_lo;
    uint32_t waiting; /* + 1; 0 = settled */
    uint16_t row[WEIR_STORED_POLICIES];
    uint8_t kept;
    bool used;
};

struct weir_replay_state {
    struct weir_replay *replay;
    struct weir_decider *deciders[WEIR_STORED_POLICIES];
    struct decider_self {
        struct weir_replay *replay;
        int policy;
    } selves[WEIR_STORED_POLICIES];
    struct waiting *waiting;
    uint32_t waiting_count, waiting_capacity, free_first;
    struct decided *decided;
    uint64_t now_ns;
};

static struct decided *place_of(struct weir_replay_state *state, uint64_t trace_lo) {
    return &state->decided[(trace_lo * 0x9e3779b97f4a7c15ull) >> 44];
}

/* ---- outcomes ---- */

static void count_lost(struct weir_replay *replay, const struct waiting *trace) {
    if (replay->lost_max != 0 && replay->lost_count++ >= replay->lost_max) return;
    if (replay->lost_max == 0) replay->lost_count++;
    if ((replay->lost_kept & (replay->lost_kept - 1)) == 0) { /* at the powers of two */
        uint64_t room = replay->lost_kept == 0 ? 1 : 2 * replay->lost_kept;
        struct weir_replay_lost *grown = realloc(replay->lost, room * sizeof *grown);
        if (grown == NULL) {
            replay->failed = true;
            return;
        }
        replay->lost = grown;
    }
    replay->lost[replay->lost_kept++] = (struct weir_replay_lost){.trace_hi = trace->trace_hi,
                                                                  .trace_lo = trace->trace_lo,
                                                                  .service = trace->service,
                                                                  .operation = trace->operation,
                                                                  .row = trace->row[0]};
}

static void finish(struct weir_replay *replay, uint32_t index) {
    struct weir_replay_state *state = replay->state;
    struct waiting *trace = &state->waiting[index];
    bool first = (trace->kept & 1) != 0, second = (trace->kept & 2) != 0, two = replay->policy_count > 1;
    replay->both += first && second;
    replay->only_first += first && !second;
    replay->only_second += !first && second;
    replay->neither += !first && !second;
    if (trace->error && !first && second) replay->error_only_second++;
    if (trace->error && !first && (!two || second)) count_lost(replay, trace);
    struct decided *decided = place_of(state, trace->trace_lo);
    *decided = (struct decided){.trace_lo = trace->trace_lo, .kept = trace->kept, .used = true};
    memcpy(decided->row, trace->row, sizeof decided->row);
    trace->free_next = state->free_first;
    state->free_first = index + 1;
}

/* One policy has decided. */
static void settle(struct weir_replay *replay, uint32_t index, int p, bool kept, uint64_t threshold) {
    struct waiting *trace = &replay->state->waiting[index];
    struct weir_replay_policy *policy = &replay->policies[p];
    struct weir_replay_row *row = &policy->rows[trace->row[p]];
    if (threshold < trace->threshold[p]) threshold = trace->threshold[p];
    double came_for = weir_stored_weight(trace->prior, trace->came_with);
    row->traces++;
    row->spans += trace->spans[p];
    row->bytes += trace->bytes[p];
    row->stands_for += came_for;
    policy->error_traces += trace->error;
    if (kept) {
        double weight = weir_stored_weight(trace->prior, threshold);
        row->kept_traces++;
        row->kept_spans += trace->spans[p];
        row->kept_bytes += trace->bytes[p];
        row->estimate += weight;
        row->variance += weight * (weight - came_for); /* Horvitz-Thompson, given what came */
        trace->kept |= (uint8_t)(1 << p);
    } else {
        policy->error_lost += trace->error;
    }
    trace->undecided &= (uint8_t) ~(1 << p);
}

static void resolved(void *self, uint32_t handle, const struct weir_verdict *verdict) {
    const struct decider_self *of = self;
    settle(of->replay, handle, of->policy, verdict->kept, verdict->threshold);
    if (of->replay->state->waiting[handle].undecided == 0) finish(of->replay, handle);
}

/* ---- traces ---- */

static struct weir_decider *decider_of(struct weir_replay *replay, int p, uint64_t now_ns) {
    struct weir_replay_state *state = replay->state;
    if (state->deciders[p] != NULL) return state->deciders[p];
    state->selves[p] = (struct decider_self){replay, p};
    state->deciders[p] =
        weir_decider_new(&(struct weir_decider_env){.keep = weir_policy_keep_part(replay->policies[p].policy),
                                                    .lanes = 1,
                                                    .resolved = resolved,
                                                    .self = &state->selves[p]},
                         now_ns);
    if (state->deciders[p] == NULL) replay->failed = true;
    return state->deciders[p];
}

static bool new_waiting(struct weir_replay *replay, uint32_t *index) {
    struct weir_replay_state *state = replay->state;
    if (state->free_first != 0) {
        *index = state->free_first - 1;
        state->free_first = state->waiting[*index].free_next;
        return true;
    }
    if (state->waiting_count == state->waiting_capacity) {
        uint32_t room = state->waiting_capacity == 0 ? 1024 : 2 * state->waiting_capacity;
        struct waiting *grown = realloc(state->waiting, room * sizeof *grown);
        if (grown == NULL) {
            replay->failed = true;
            return false;
        }
        state->waiting = grown;
        state->waiting_capacity = room;
    }
    *index = state->waiting_count++;
    return true;
}

static uint16_t row_of(uint16_t rule) {
    return rule == WEIR_RULE_NONE ? WEIR_REPLAY_NONE : rule == WEIR_RULE_FORCED ? WEIR_REPLAY_FORCED : rule;
}

static void ask_policy(struct weir_replay *replay, uint32_t index, int p, const struct weir_stored_trace *trace,
                       uint64_t now_ns) {
    struct weir_replay_state *state = replay->state;
    const struct weir_stored_part *part = &trace->parts[p];
    if (part->spans == 0) {
        state->waiting[index].row[p] = WEIR_REPLAY_COLLECTOR;
        settle(replay, index, p, false, 0);
        return;
    }
    if (weir_policy_keep_part(replay->policies[p].policy) == NULL) {
        state->waiting[index].row[p] = WEIR_REPLAY_NONE;
        settle(replay, index, p, true, 0);
        return;
    }
    struct weir_decider *decider = decider_of(replay, p, now_ns);
    if (decider == NULL) return;
    struct weir_verdict verdict;
    /* The row has to be known before: a later trace may resolve this one. */
    uint64_t dry;
    state->waiting[index].row[p] = row_of(
        weir_keep_match(weir_policy_keep_part(replay->policies[p].policy), &part->facts, part->facts.passed, &dry));
    enum weir_decision decision = weir_decider_decide(decider, &part->facts, index, now_ns, &verdict);
    if (decision != WEIR_DECISION_WAITS) settle(replay, index, p, decision == WEIR_DECISION_KEPT, verdict.threshold);
}

static void on_decided(void *self, const struct weir_stored_trace *trace, uint64_t now_ns) {
    struct weir_replay *replay = self;
    struct weir_replay_state *state = replay->state;
    uint32_t index;
    if (replay->failed || !new_waiting(replay, &index)) return;
    struct waiting *made = &state->waiting[index];
    *made = (struct waiting){.trace_hi = trace->trace_hi,
                             .trace_lo = trace->trace_lo,
                             .came_with = trace->threshold,
                             .prior = trace->prior,
                             .service = trace->error_service,
                             .operation = trace->error_operation,
                             .error = trace->errors > 0,
                             .undecided = (uint8_t)((1 << replay->policy_count) - 1)};
    for (int p = 0; p < replay->policy_count; p++) {
        const struct weir_stored_part *part = &trace->parts[p];
        bool left_out = part->spans == 0; /* by `collector:`: its row counts what it left out */
        made->spans[p] = left_out ? trace->spans : part->spans;
        made->bytes[p] = left_out ? trace->bytes : part->bytes;
        made->threshold[p] = left_out ? trace->threshold : part->threshold;
        if (!left_out && part->spans < trace->spans) { /* some of its spans only */
            struct weir_replay_row *row = &replay->policies[p].rows[WEIR_REPLAY_COLLECTOR];
            row->spans += trace->spans - part->spans;
            row->bytes += trace->bytes - part->bytes;
        }
    }
    *place_of(state, trace->trace_lo) =
        (struct decided){.trace_lo = trace->trace_lo, .waiting = index + 1, .used = true};
    for (int p = 0; p < replay->policy_count && !replay->failed; p++)
        ask_policy(replay, index, p, trace, now_ns);
    if (state->waiting[index].undecided == 0) finish(replay, index);
}

/* Follows the decision, as in a running Weir. */
static bool on_late(void *self, const struct weir_span *span) {
    struct weir_replay *replay = self;
    const struct decided *decided = place_of(replay->state, span->trace_lo);
    if (!decided->used || decided->trace_lo != span->trace_lo) return false;
    for (int p = 0; p < replay->policy_count; p++) {
        struct waiting *trace = decided->waiting == 0 ? NULL : &replay->state->waiting[decided->waiting - 1];
        if (trace != NULL && (trace->undecided >> p & 1) != 0) {
            trace->spans[p]++;
            trace->bytes[p] += span->size;
            continue;
        }
        uint8_t kept = trace == NULL ? decided->kept : trace->kept;
        struct weir_replay_row *row = &replay->policies[p].rows[trace == NULL ? decided->row[p] : trace->row[p]];
        row->spans++;
        row->bytes += span->size;
        if ((kept >> p & 1) == 0) continue;
        row->kept_spans++;
        row->kept_bytes += span->size;
    }
    return true;
}

static void on_tick(void *self, uint64_t now_ns) {
    struct weir_replay *replay = self;
    for (int p = 0; p < replay->policy_count; p++) {
        if (replay->state->deciders[p] != NULL) weir_decider_tick(replay->state->deciders[p], now_ns);
    }
}

/* Windows end, and the next traces begin with fresh ones, as after a restart. */
static void on_gap(void *self, uint64_t now_ns) {
    struct weir_replay *replay = self;
    for (int p = 0; p < replay->policy_count; p++) {
        struct weir_decider *decider = replay->state->deciders[p];
        if (decider == NULL) continue;
        weir_decider_flush(decider, now_ns);
        const struct weir_decider_counts *counts = weir_decider_counts(decider);
        for (uint32_t r = 0; r < WEIR_KEEP_RULES_MAX; r++) {
            replay->policies[p].rows[r].dry_traces += counts->dry_matched[r];
            replay->policies[p].rows[r].dry_kept += counts->dry_kept[r];
        }
        weir_decider_free(decider);
        replay->state->deciders[p] = NULL;
    }
}

bool weir_replay_run(struct weir_replay *replay, struct weir_names *names, char *const *paths, int path_count,
                     void (*progress)(void *self, uint64_t done_bytes, uint64_t all_bytes)) {
    struct weir_replay_state state = {.replay = replay};
    struct weir_stored stored = {.self = replay,
                                 .names = names,
                                 .wait_ns = 10 * WEIR_S,
                                 .quiet_ns = WEIR_S,
                                 .decided = on_decided,
                                 .late = on_late,
                                 .tick = on_tick,
                                 .gap = on_gap,
                                 .progress = progress,
                                 .command = "replay"};
    for (int p = 0; p < replay->policy_count; p++)
        stored.policies[p] = replay->policies[p].policy;
    const struct weir_keep *keep = weir_policy_keep_part(replay->policies[0].policy);
    if (keep != NULL) stored.wait_ns = keep->wait_ns;
    if (keep != NULL) stored.quiet_ns = keep->quiet_ns;
    state.decided = calloc(DECIDED_SLOTS, sizeof *state.decided);
    replay->state = &state;
    replay->failed = state.decided == NULL;
    bool read = !replay->failed && weir_stored_run(&stored, paths, path_count, &replay->counts);
    on_gap(replay, 0); /* nothing is left after a whole run */
    free(state.decided);
    free(state.waiting);
    replay->state = NULL;
    return read && !replay->failed;
}

void weir_replay_free(struct weir_replay *replay) {
    free(replay->lost);
    replay->lost = NULL;
}

/* ---- sums ---- */

struct weir_replay_row weir_replay_total(const struct weir_replay_policy *policy) {
    struct weir_replay_row total = {0};
    for (uint32_t r = 0; r < WEIR_REPLAY_ROWS; r++) {
        const struct weir_replay_row *row = &policy->rows[r];
        total.traces += row->traces;
        total.spans += row->spans;
        total.bytes += row->bytes;
        total.kept_traces += row->kept_traces;
        total.kept_spans += row->kept_spans;
        total.kept_bytes += row->kept_bytes;
        total.stands_for += row->stands_for;
        total.estimate += row->estimate;
        total.variance += row->variance;
    }
    return total;
}

double weir_replay_silent(const struct weir_replay_policy *policy) {
    const struct weir_keep *keep = weir_policy_keep_part(policy->policy);
    double sum = 0;
    for (uint32_t r = 0; keep != NULL && r < keep->rule_count; r++) {
        if (keep->rules[r].rate == 0) sum += policy->rows[r].stands_for;
    }
    return sum;
}

const char *weir_replay_row_name(const struct weir_replay_policy *policy, uint32_t row) {
    const struct weir_keep *keep = weir_policy_keep_part(policy->policy);
    switch (row) {
    case WEIR_REPLAY_NONE: return "none";
    case WEIR_REPLAY_FORCED: return "forced";
    case WEIR_REPLAY_COLLECTOR: return "collector";
    default: return keep != NULL && row < keep->rule_count ? keep->rules[row].name : "";
    }
}

bool weir_replay_row_shown(const struct weir_replay_policy *policy, uint32_t row) {
    const struct weir_keep *keep = weir_policy_keep_part(policy->policy);
    if (row < WEIR_KEEP_RULES_MAX) return keep != NULL && row < keep->rule_count;
    // cppcheck-suppress arrayIndexOutOfBoundsCond; `row` is one of WEIR_REPLAY_ROWS
    return policy->rows[row].spans > 0;
}
