/* inside.h - what rules.c (text) and judge.c (success, exclude) share. */
#ifndef WEIR_ATTRIBUTES_INSIDE_H
#define WEIR_ATTRIBUTES_INSIDE_H
#include "collector/attributes/rules.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { HASH_KEY_BYTES_MAX = 256 };

struct pattern {
    pcre2_code *code;
    pcre2_match_context *context;
};
struct rule {
    const struct weir_attribute_config *config; /* in rules->attributes */
    struct weir_metric_set *redacted;           /* NULL: not counted */
    struct pattern pattern;
    uint8_t hash_key[HASH_KEY_BYTES_MAX];
    size_t hash_key_size;
    bool all; /* its keys are "*" */
};
struct weir_rules {
    struct weir_rules_look look;                                 /* first */
    struct weir_attribute_config attributes[WEIR_RULES_MAX + 2]; /* with the defaults */
    struct rule rules[WEIR_RULES_MAX + 2];
    uint32_t rule_count;
    bool keeps; /* there is a keep rule */
    struct weir_operation_config operations[WEIR_RULES_MAX];
    struct pattern operation_patterns[WEIR_RULES_MAX];
    uint32_t operation_count;
    struct weir_judge_config success[WEIR_RULES_MAX], exclude[WEIR_RULES_MAX];
    uint32_t success_count, exclude_count;
    struct weir_metric_set *excluded;
};

/* Exact, or a beginning and `*`. */
static inline bool weir_pattern_fits(const char *pattern, const void *text, size_t size) {
    size_t length = strlen(pattern);
    if (length > 0 && pattern[length - 1] == '*') return size >= length - 1 && memcmp(pattern, text, length - 1) == 0;
    return size == length && memcmp(pattern, text, size) == 0;
}
#endif
