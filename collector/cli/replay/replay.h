/* replay.h - the traces of files through one policy or two: what each rule would keep, and what it would cost.
 * The decisions are those of a running Weir (sample/decide.h), with the time of the spans. */
#ifndef WEIR_CLI_REPLAY_H
#define WEIR_CLI_REPLAY_H
#include "collector/cli/stored.h"

/* Rows: the policy's rules, and these. */
enum {
    WEIR_REPLAY_NONE = WEIR_KEEP_RULES_MAX, /* no rule matched: kept */
    WEIR_REPLAY_FORCED,
    WEIR_REPLAY_COLLECTOR, /* left out by `collector:`, before any rule */
    WEIR_REPLAY_ROWS
};
struct weir_replay_row {
    uint64_t traces, spans, bytes;
    uint64_t kept_traces, kept_spans, kept_bytes;
    double stands_for; /* traces, by the weights that they came with */
    double estimate;   /* of that, from what is kept */
    double variance;   /* of the estimate */
    uint64_t dry_traces, dry_kept;
};
struct weir_replay_lost { /* a trace with an error that is not kept */
    uint64_t trace_hi, trace_lo;
    uint32_t service, operation; /* of its first span that is an error */
    uint16_t row;
};
struct weir_replay_policy {
    const char *path;
    struct weir_policy *policy;
    struct weir_replay_row rows[WEIR_REPLAY_ROWS];
    uint64_t error_traces, error_lost;
};
struct weir_replay {
    struct weir_replay_policy policies[WEIR_STORED_POLICIES]; /* --policy, --against */
    int policy_count;
    uint64_t both, only_first, only_second, neither; /* traces, kept by */
    uint64_t error_only_second;                      /* error traces that only the second keeps */
    struct weir_replay_lost *lost;                   /* by the first; with two, those that the second keeps */
    uint64_t lost_count, lost_kept, lost_max;        /* all; in `lost`; 0 = no bound */
    struct weir_stored_counts counts;
    struct weir_replay_state *state;
    bool failed;
};

/* Reads the paths. policies[].policy, policy_count and lost_max are set; the caller keeps the policies. False: out of
 * memory. progress: as in struct weir_stored, with self. */
bool weir_replay_run(struct weir_replay *replay, struct weir_names *names, char *const *paths, int path_count,
                     void (*progress)(void *self, uint64_t done_bytes, uint64_t all_bytes));
void weir_replay_free(struct weir_replay *replay);
struct weir_replay_row weir_replay_total(const struct weir_replay_policy *policy);
/* Of stands_for: what rules with a rate of 0 leave out, which no estimate can have. */
double weir_replay_silent(const struct weir_replay_policy *policy);
/* "errors", "none", "forced", "collector" */
const char *weir_replay_row_name(const struct weir_replay_policy *policy, uint32_t row);
/* Has the row anything to say, or is it a rule of the file? */
bool weir_replay_row_shown(const struct weir_replay_policy *policy, uint32_t row);

/* For people at `columns` columns, and as one JSON object. */
void weir_replay_print(const struct weir_replay *replay, const struct weir_names *names, bool colour, bool unicode,
                       struct weir_buffer *out);
void weir_replay_print_json(const struct weir_replay *replay, const struct weir_names *names, struct weir_buffer *out);

int weir_replay_main(int argc, char **argv); /* argv[0] is "replay" */
#endif
