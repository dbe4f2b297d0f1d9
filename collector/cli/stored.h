/* stored.h - trace files, span by span into traces, in a bounded window: what `weir explain` and `weir replay` look at.
 *
 *   PATH ─> files by time ─> frames (exporters/file/reader.h) ─> spans ─> traces that wait as in the tail buffer ─>
 * decided()
 *
 * Time is that of the spans: `now` is the latest end seen, without outliers (a span that ends more than a minute behind
 * the middle of its frame moves no clock). A trace is decided when its root came and nothing for `quiet`, or after
 * `wait`, or when more than traces_max wait: the oldest first. Where time jumps by more than ten minutes, and at the
 * end of a path, all is decided and gap() says so. One thread. */
#ifndef WEIR_CLI_STORED_H
#define WEIR_CLI_STORED_H
#include "collector/sample/keep.h"
#include "collector/sample/policy.h"

#include <stdio.h>

enum { WEIR_STORED_POLICIES = 2, WEIR_STORED_RULE_BYTES = 80, WEIR_STORED_TRACES_MAX = 200000 };

/* Of one policy. */
struct weir_stored_part {
    struct weir_trace facts; /* span_count 0: its `collector:` part left out all of it */
    uint32_t spans;          /* that came as far as `keep:` */
    uint64_t bytes;
    uint64_t threshold; /* with what `collector:` made of it */
    bool has_root;
};
struct weir_stored_trace {
    struct weir_stored_part parts[WEIR_STORED_POLICIES];
    uint64_t trace_hi, trace_lo;
    uint64_t born_ns;
    uint32_t spans;
    uint64_t bytes; /* of the spans, without resources */
    /* How many traces it stands for: prior x 2^56 / (2^56 - T), of its root or first span. */
    double prior;
    uint64_t threshold;
    uint32_t service, operation;             /* of the root; until it came, of the first span */
    uint32_t error_service, error_operation; /* of the first span that is an error */
    uint32_t errors;                         /* spans */
    uint64_t root_ns;                        /* how long the root took */
    bool has_root, has_mark, forced;
    char rule[WEIR_STORED_RULE_BYTES]; /* weir.rule and weir.weight of the root, when it has_mark */
    double mark_weight;
};

struct weir_stored {
    void *self;
    struct weir_names *names;
    const struct weir_policy *policies[WEIR_STORED_POLICIES]; /* NULL: keeps all, without rules */
    uint64_t wait_ns, quiet_ns;
    uint32_t traces_max; /* 0 = WEIR_STORED_TRACES_MAX, 80 MiB */
    /* A trace is whole, as far as it will be. Good during the call. */
    void (*decided)(void *self, const struct weir_stored_trace *trace, uint64_t now_ns);
    /* A span of a trace that is not held: does it belong to one that was decided? Then it is the callee's. May be NULL:
     * it never does. w is its weight. */
    bool (*late)(void *self, const struct weir_span *span);
    void (*tick)(void *self, uint64_t now_ns); /* each 100 ms of the spans' time; may be NULL */
    void (*gap)(void *self, uint64_t now_ns);  /* time begins anew behind it; may be NULL */
    void (*progress)(void *self, uint64_t done_bytes, uint64_t all_bytes); /* of the files; may be NULL */
    const char *command;                                                   /* "explain", for complaints on stderr */
    bool quiet;                                                            /* no complaints: it is read again */
};

struct weir_stored_counts {
    uint64_t files, file_bytes, spans, bytes, traces, late, pressed; /* pressed: decided early, for traces_max */
    uint64_t first_ns, last_ns;                                      /* of spans' starts and ends */
    bool broken;                                                     /* something was told on stderr */
};

/* Reads all paths: files, or folders of trace files. What is broken is told on stderr with file and offset, and stepped
 * over. False: out of memory, or nothing to read. */
bool weir_stored_run(const struct weir_stored *stored, char *const *paths, int path_count,
                     struct weir_stored_counts *counts);
/* prior x 2^56 / (2^56 - T) */
static inline double weir_stored_weight(double prior, uint64_t threshold) {
    if (threshold >= WEIR_THRESHOLD_MAX) threshold = WEIR_THRESHOLD_MAX - 1;
    return prior * ((double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - threshold));
}
#endif
