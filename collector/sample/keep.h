/* keep.h - `keep:` of sampling.yaml, compiled: which traces are stored, first match wins (docs/sampling.md).
 *
 *   span ─> tests: a bit each, kept in struct weir_trace ─> at the decision: conditions over bits and facts ─> rule
 *
 * A *test* asks one span and is asked once, when the span arrives: `error: true`, `service: checkout`, `span: {...}`
 * (all of it on one span), `root: {...}` (all of it on the root). A *condition* combines tests and facts of the trace
 * (duration, span count) with all, any, not. Immutable; shared by the lanes. Pure: no clock, no I/O. */
#ifndef WEIR_SAMPLE_KEEP_H
#define WEIR_SAMPLE_KEEP_H
#include "collector/config/yaml.h"
#include "collector/core/buffer.h"
#include "collector/sample/trace.h"

enum { WEIR_KEEP_RULES_MAX = 64, WEIR_KEEP_TESTS_MAX = 64, WEIR_KEEP_DYNAMIC_MAX = 8, WEIR_DYNAMIC_KEYS_MAX = 4 };

/* What a key of a dynamic rate is made of. */
enum weir_dynamic_field {
    WEIR_DYNAMIC_SERVICE,
    WEIR_DYNAMIC_OPERATION,
    WEIR_DYNAMIC_STATUS,      /* error or not */
    WEIR_DYNAMIC_HTTP_STATUS, /* of the root */
    WEIR_DYNAMIC_VALUE_0,     /* struct weir_trace.values[0] */
    WEIR_DYNAMIC_VALUE_1
};
struct weir_dynamic_config {
    enum weir_dynamic_field fields[WEIR_DYNAMIC_KEYS_MAX];
    uint32_t field_count;
    double traces_per_second; /* the goal, of the whole process; 0 = the goal is a share */
    double share;             /* in (0, 1]; 0 = the goal is a throughput */
    uint64_t window_ns;       /* how far back it counts; 30 s */
    uint32_t keys_max;        /* 500; beyond, traces share one key */
};

struct weir_keep_rule {
    const char *name;
    uint32_t name_id;
    int line;
    bool dry_run;                        /* counts what it matches; the next rules decide */
    double rate;                         /* in [0, 1]; 1 when not said */
    uint64_t threshold;                  /* of `rate`, weir_threshold_of() */
    double max_traces_per_second;        /* of the whole process; 0 = no limit */
    struct weir_dynamic_config *dynamic; /* NULL = none */
};

struct weir_keep {
    uint64_t wait_ns, quiet_ns; /* 10 s, 1 s */
    uint64_t memory_bytes;      /* 256 MiB, of all lanes: spans held, traces, decision memory */
    uint32_t trace_spans_max;   /* 10,000: more, and it is decided by what is known */
    uint64_t trace_bytes_max;   /* 8 MiB */
    bool compress;              /* true: spans that wait are compressed */
    struct weir_keep_rule rules[WEIR_KEEP_RULES_MAX];
    uint32_t rule_count;
    uint32_t none_id, forced_id; /* name ids of "none" and "forced" */
    uint32_t test_count;
    bool asks_attributes;            /* a test or a key looks at attributes: the span's body is walked */
    struct weir_keep_inside *inside; /* tests and conditions, sample/keep.c's own */
};

/* Compiles the node under `keep:`. Names are interned. WEIR_INVALID: "file:line: reason". */
enum weir_status weir_keep_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node, struct weir_names *names,
                                struct weir_keep **keep, struct weir_error *err);
void weir_keep_free(struct weir_keep *keep); /* accepts NULL */

/* What of the rules can have no effect; `least`: no span comes with a lower threshold, because of `collector:`. For
 * weir_policy_remarks(). */
void weir_keep_remarks(const struct weir_keep *keep, uint64_t least,
                       void (*say)(void *self, int line, const char *text), void *self);

/* Adds span i of `batch` to the facts, the first or a later one. `shadow` may be NULL. A trace begins zeroed. */
void weir_trace_add(struct weir_trace *trace, const struct weir_keep *keep, const struct weir_keep *shadow,
                    const struct weir_names *names, const struct weir_batch *batch, uint32_t i);

/* The first rule that matches and is not a dry run, or WEIR_RULE_NONE; WEIR_RULE_FORCED before all of them.
 *   passed   the trace's bits for this policy (`passed`, or `shadow_passed` for a shadow)
 *   *dry     bit r: dry-run rule r matches, and would have been the first */
uint16_t weir_keep_match(const struct weir_keep *keep, const struct weir_trace *trace, uint64_t passed, uint64_t *dry);

/* Does rule `rule` match, and why: one line a condition, in the words of the file ("duration >750ms: no, 12ms").
 * Lines are indented by `indent` spaces. For `weir explain`. */
bool weir_keep_explain(const struct weir_keep *keep, uint16_t rule, const struct weir_trace *trace, uint64_t passed,
                       uint32_t indent, struct weir_buffer *out);
/* "errors", "none", "forced" */
const char *weir_keep_rule_name(const struct weir_keep *keep, uint16_t rule);
#endif
