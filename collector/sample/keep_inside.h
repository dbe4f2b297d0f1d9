/* keep_inside.h - conditions as a tree; what keep.c (asks), keep_read.c (builds) and span_test.c (one span) share. */
#ifndef WEIR_SAMPLE_KEEP_INSIDE_H
#define WEIR_SAMPLE_KEEP_INSIDE_H
#include "collector/sample/keep.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { KEEP_ATTRIBUTES_MAX = 64, KEEP_TEXTS_MAX = 64, KEEP_TEXT_BYTES = 160 };

struct weir_range {
    double min, max; /* ns for durations */
    bool min_open, max_open;
};
static inline bool weir_range_has(const struct weir_range *range, double value) {
    return (range->min_open ? value > range->min : value >= range->min) &&
           (range->max_open ? value < range->max : value <= range->max);
}

/* A name: exact (by id), or a beginning. Or an attribute's value: text, and the number that it is. */
struct weir_wanted {
    uint32_t id; /* of an exact name; WEIR_NAME_NONE: compare the text */
    bool prefix, is_number;
    double number;
    uint32_t size;
    char *text;
};

enum weir_node_kind {
    /* combine their children, in a trace's condition and in a test */
    WEIR_NODE_ALL,
    WEIR_NODE_ANY,
    WEIR_NODE_NOT, /* none of: not all of them */
    /* of a trace */
    WEIR_NODE_TEST, /* a span passed test `bit` */
    WEIR_NODE_TRACE_DURATION,
    WEIR_NODE_SPAN_COUNT,
    /* of a span */
    WEIR_NODE_ERROR,
    WEIR_NODE_ROOT,
    WEIR_NODE_SERVICE,
    WEIR_NODE_OPERATION,
    WEIR_NODE_KIND,
    WEIR_NODE_SAMPLED,
    WEIR_NODE_DURATION,
    WEIR_NODE_HTTP_STATUS,
    WEIR_NODE_EXISTS, /* attributes: */
    WEIR_NODE_EQUALS,
    WEIR_NODE_MATCHES,
    WEIR_NODE_RANGE
};

struct weir_node {
    enum weir_node_kind kind;
    struct weir_node *first, *next; /* children; siblings */
    struct weir_node *made_before;  /* all of a policy, for freeing */
    uint8_t bit, attribute;         /* TEST; index into inside->attributes */
    bool want;
    uint32_t kinds; /* bits */
    struct weir_range *ranges;
    struct weir_wanted *wanted;
    uint32_t count; /* of ranges or wanted */
    pcre2_code *code;
    char text[KEEP_TEXT_BYTES]; /* as the file says it, cut */
};

struct weir_keep_test {
    const struct weir_node *node;
    char *source; /* canonical, whole: equal tests share a bit */
};

struct weir_keep_inside {
    const struct weir_node *when[WEIR_KEEP_RULES_MAX]; /* NULL: matches all */
    struct weir_keep_test tests[WEIR_KEEP_TESTS_MAX];
    struct weir_node *made;
    /* Attributes that tests and keys ask for; each span's body is walked once for all of them. */
    char *attributes[KEEP_ATTRIBUTES_MAX];
    uint64_t ends[256]; /* by a key's last character: a bit for each size (mod 64) */
    uint32_t attribute_count;
    uint8_t values[WEIR_TRACE_VALUES_MAX]; /* attributes that dynamic keys are made of */
    uint32_t value_count;
    pcre2_match_context *match;
};

/* An attribute's value where it stands. */
struct weir_value {
    uint32_t number; /* field of AnyValue; 0 = the span has no such attribute */
    uint64_t bits;
    const uint8_t *text;
};
struct weir_span_facts {
    const struct weir_span *span;
    const struct weir_names *names;
    const struct weir_keep_inside *inside;
    struct weir_value values[KEEP_ATTRIBUTES_MAX]; /* [attribute_count] */
    bool sampled;
};
/* Finds the attributes that the policy asks for, in the span and then in its resource, and the W3C sampled bit. */
void weir_span_facts_read(struct weir_span_facts *facts, const struct weir_batch *batch, uint32_t i);
bool weir_span_test(const struct weir_node *node, const struct weir_span_facts *facts);
#endif
