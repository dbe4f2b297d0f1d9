#include "collector/attributes/aliases.h"
#include "collector/attributes/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

enum {
    HASH_BYTES = 16,      /* of HMAC-SHA256, as 32 hex digits */
    MATCH_LIMIT = 100000, /* steps of one match: what a pattern may cost on the worst value */
    DEPTH_LIMIT = 1000,
    COUNTED_RULES_MAX = 256,
};
static const char hidden[] = "[redacted]";

/* design: what a payments company may not store. */
static const char *const query_keys[] = {"http.url", "http.uri", "url.full", "url.query", "http.target", NULL};
static const char *const all_keys[] = {"*", NULL};

/* ---- counters ---- */

static const struct weir_metric redacted_metric[] = {
    {"attributes_redacted_total", NULL, WEIR_COUNTER,
     "Values that a rule of attributes: changed or dropped, by rule."}};
static const struct weir_metric excluded_metric[] = {
    {"spans_excluded_total", NULL, WEIR_COUNTER, "Spans that a rule of exclude: left out of the series."}};

struct weir_rules_counts {
    struct weir_metrics *metrics;
    struct weir_metric_set *excluded;
    struct {
        char name[48];
        struct weir_metric_set *set;
    } rules[COUNTED_RULES_MAX];
    uint32_t count;
    pthread_mutex_t lock;
};

struct weir_rules_counts *weir_rules_counts_new(struct weir_metrics *metrics) {
    struct weir_rules_counts *counts = calloc(1, sizeof *counts);
    if (counts == NULL) return NULL;
    pthread_mutex_init(&counts->lock, NULL);
    counts->metrics = metrics;
    counts->excluded = weir_metrics_open(metrics, excluded_metric, 1, NULL);
    return counts;
}

void weir_rules_counts_free(struct weir_rules_counts *counts) {
    if (counts == NULL) return;
    for (uint32_t i = 0; i < counts->count; i++)
        weir_metrics_close(counts->metrics, counts->rules[i].set);
    weir_metrics_close(counts->metrics, counts->excluded);
    pthread_mutex_destroy(&counts->lock);
    free(counts);
}

/* The counter of a rule's name, made when it is new; NULL beyond 256 of them. */
static struct weir_metric_set *counter_of(struct weir_rules_counts *counts, const char *name) {
    struct weir_metric_set *set = NULL;
    char labels[96];
    if (counts == NULL) return NULL;
    pthread_mutex_lock(&counts->lock);
    uint32_t i = 0;
    while (i < counts->count && strcmp(counts->rules[i].name, name) != 0)
        i++;
    if (i == counts->count && i < COUNTED_RULES_MAX) {
        snprintf(labels, sizeof labels, "rule=\"%s\"", name);
        snprintf(counts->rules[i].name, sizeof counts->rules[i].name, "%s", name);
        counts->rules[i].set = weir_metrics_open(counts->metrics, redacted_metric, 1, labels);
        if (counts->rules[i].set != NULL) counts->count++;
    }
    if (i < counts->count) set = counts->rules[i].set;
    pthread_mutex_unlock(&counts->lock);
    return set;
}

static void count(const struct rule *rule) {
    if (rule->redacted != NULL) weir_count_shared(rule->redacted, 0, 1);
}

/* ---- compiling ---- */

static enum weir_status bad(const struct weir_config *config, int line, struct weir_error *err, const char *what,
                            const char *why) {
    return weir_fail(err, WEIR_INVALID, 0, false, "%s:%d: %s: %s", config->path, line, what, why);
}

static enum weir_status compile(const struct weir_config *config, const char *text, int line, const char *what,
                                struct pattern *pattern, struct weir_error *err) {
    int code;
    size_t offset;
    pattern->code = pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, PCRE2_UTF | PCRE2_MATCH_INVALID_UTF, &code,
                                  &offset, NULL);
    if (pattern->code == NULL) {
        char why[160], place[208];
        pcre2_get_error_message(code, (PCRE2_UCHAR *)why, sizeof why);
        snprintf(place, sizeof place, "%s (at character %zu)", why, offset);
        return bad(config, line, err, what, place);
    }
    pcre2_jit_compile(pattern->code, PCRE2_JIT_COMPLETE); /* where there is no JIT it is interpreted */
    pattern->context = pcre2_match_context_create(NULL);
    if (pattern->context == NULL) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    pcre2_set_match_limit(pattern->context, MATCH_LIMIT);
    pcre2_set_depth_limit(pattern->context, DEPTH_LIMIT);
    return WEIR_OK;
}

static enum weir_status read_key(const struct weir_config *config, struct rule *rule, struct weir_error *err) {
    char why[320];
    const char *path = rule->config->key_file;
    if (*path == 0) { /* equal values are still equal, for as long as this process runs */
        rule->hash_key_size = 32;
        if (getrandom(rule->hash_key, 32, 0) == 32) return WEIR_OK;
        return weir_fail(err, WEIR_IO, errno, false, "getrandom");
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t size = fd < 0 ? -1 : read(fd, rule->hash_key, sizeof rule->hash_key);
    int failed = errno;
    if (fd >= 0) close(fd);
    if (size < 0) {
        snprintf(why, sizeof why, "%.200s: %s", path, strerror(failed));
        return bad(config, rule->config->line, err, "key_file", why);
    }
    while (size > 0 && (rule->hash_key[size - 1] == '\n' || rule->hash_key[size - 1] == '\r'))
        size--;
    rule->hash_key_size = (size_t)size;
    if (size >= 16) return WEIR_OK;
    return bad(config, rule->config->line, err, "key_file", "has fewer than 16 bytes");
}

static void look_at(struct weir_rules *rules, const struct weir_attribute_config *rule) {
    struct weir_rules_look *look = &rules->look;
    bool masks_all = rule->action == WEIR_ACTION_MASK_CARD_NUMBERS && rule->key_count == 1 && rule->keys[0][0] == '*';
    if (rule->key_count > 0 && rule->action != WEIR_ACTION_STRIP_QUERY && !masks_all) look->queries = false;
    for (uint32_t k = 0; k < rule->key_count; k++) {
        size_t size = strlen(rule->keys[k]);
        bool all = strcmp(rule->keys[k], "*") == 0;
        if (rule->action == WEIR_ACTION_MASK_CARD_NUMBERS && all)
            look->cards = true;
        else if (rule->keys[k][size - 1] == '*')
            look->every_key = true;
        else
            look->ends[(uint8_t)rule->keys[k][size - 1]] |= 1ull << (size & 63);
    }
    if (rule->action == WEIR_ACTION_STRIP_QUERY && rule->key_count > 0) look->strips = true;
    if (rule->action == WEIR_ACTION_KEEP && rule->key_count > 0) rules->keeps = look->every_key = true;
}

static void add_default(struct weir_rules *rules, const struct weir_config *config, enum weir_action action,
                        const char *name, const char *const *keys) {
    for (uint32_t i = 0; i < config->attribute_count; i++) {
        if (config->attributes[i].action == action) return; /* the file says what is wanted of it */
    }
    struct weir_attribute_config *rule = &rules->attributes[rules->rule_count++];
    rule->action = action;
    snprintf(rule->name, sizeof rule->name, "%s", name);
    for (; *keys != NULL; keys++)
        snprintf(rule->keys[rule->key_count++], sizeof rule->keys[0], "%s", *keys);
}

static enum weir_status build(struct weir_rules *rules, const struct weir_config *config,
                              struct weir_rules_counts *counts, struct weir_error *err) {
    enum weir_status status = WEIR_OK;
    memcpy(rules->attributes, config->attributes, config->attribute_count * sizeof rules->attributes[0]);
    rules->rule_count = config->attribute_count;
    rules->look.queries = true;
    add_default(rules, config, WEIR_ACTION_STRIP_QUERY, "strip_query", query_keys);
    add_default(rules, config, WEIR_ACTION_MASK_CARD_NUMBERS, "mask_card_numbers", all_keys);
    for (uint32_t i = 0; i < rules->rule_count && status == WEIR_OK; i++) {
        struct rule *rule = &rules->rules[i];
        rule->config = &rules->attributes[i];
        for (uint32_t k = 0; k < rule->config->key_count; k++)
            rule->all |= strcmp(rule->config->keys[k], "*") == 0;
        rule->redacted = counter_of(counts, rule->config->name);
        look_at(rules, rule->config);
        if (rules->look.every_key) memset(rules->look.ends, 0xff, sizeof rules->look.ends);
        if (rule->config->action == WEIR_ACTION_REPLACE)
            status = compile(config, rule->config->pattern, rule->config->line, "pattern", &rule->pattern, err);
        if (rule->config->action == WEIR_ACTION_HASH) status = read_key(config, rule, err);
    }
    for (; rules->operation_count < config->operation_count && status == WEIR_OK; rules->operation_count++) {
        uint32_t i = rules->operation_count;
        rules->operations[i] = config->operations[i];
        status = compile(config, config->operations[i].match, config->operations[i].line, "match",
                         &rules->operation_patterns[i], err);
    }
    rules->success_count = config->success_count;
    rules->exclude_count = config->exclude_count;
    memcpy(rules->success, config->success, sizeof rules->success);
    memcpy(rules->exclude, config->exclude, sizeof rules->exclude);
    rules->excluded = counts != NULL ? counts->excluded : NULL;
    return status;
}

enum weir_status weir_rules_new(const struct weir_config *config, struct weir_rules_counts *counts,
                                struct weir_rules **out, struct weir_error *err) {
    struct weir_rules *rules = calloc(1, sizeof *rules);
    if (rules == NULL) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    enum weir_status status = build(rules, config, counts, err);
    if (status != WEIR_OK) {
        weir_rules_free(rules);
        return status;
    }
    *out = rules;
    return WEIR_OK;
}

static void free_pattern(struct pattern *pattern) {
    pcre2_code_free(pattern->code);
    pcre2_match_context_free(pattern->context);
}

void weir_rules_free(struct weir_rules *rules) {
    if (rules == NULL) return;
    for (int i = 0; i < WEIR_RULES_MAX + 2; i++)
        free_pattern(&rules->rules[i].pattern);
    for (int i = 0; i < WEIR_RULES_MAX; i++)
        free_pattern(&rules->operation_patterns[i]);
    OPENSSL_cleanse(rules, sizeof *rules);
    free(rules);
}

const struct weir_rules_look *weir_rules_look(const struct weir_rules *rules) {
    return &rules->look;
}

/* ---- one attribute ---- */

static bool names_key(const struct rule *rule, const uint8_t *key, size_t size) {
    if (rule->all) return true;
    for (uint32_t k = 0; k < rule->config->key_count; k++) {
        if (weir_pattern_fits(rule->config->keys[k], key, size)) return true;
    }
    return false;
}

/* What Weir itself reads, or wrote. */
static bool is_needed(const uint8_t *key, size_t size) {
    return (size > 5 && memcmp(key, "weir.", 5) == 0) || (size > 7 && memcmp(key, "zipkin.", 7) == 0) ||
           (size == 12 && memcmp(key, "service.name", 12) == 0) || weir_alias_of(key, size) != NULL;
}

static bool is_kept(const struct weir_rules *rules, const uint8_t *key, size_t size) {
    if (!rules->keeps || is_needed(key, size)) return true;
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->config->action == WEIR_ACTION_KEEP && names_key(rule, key, size)) return true;
    }
    return false;
}

size_t weir_query_cut(const uint8_t *text, size_t size) {
    const uint8_t *mark = size == 0 ? NULL : memchr(text, '?', size);
    return mark == NULL ? size : (size_t)(mark - text);
}

/* url.query is nothing but a query: all of it goes. */
static size_t without_query(const uint8_t *key, size_t key_size, const uint8_t *text, size_t size) {
    if (key_size == WEIR_URL_QUERY_BYTES && memcmp(key, "url.query", key_size) == 0) return 0;
    return weir_query_cut(text, size);
}

bool weir_rules_changes(const struct weir_rules *rules, const uint8_t *key, size_t key_size, const uint8_t *text,
                        size_t size) {
    if (!is_kept(rules, key, key_size)) return true;
    bool query = size > 0 && memchr(text, '?', size) != NULL; /* most of what strip_query names has none */
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        const struct rule *rule = &rules->rules[i];
        enum weir_action action = rule->config->action;
        if (action == WEIR_ACTION_KEEP || (action == WEIR_ACTION_MASK_CARD_NUMBERS && rule->all)) continue;
        if (action == WEIR_ACTION_STRIP_QUERY && !query && key_size != WEIR_URL_QUERY_BYTES) continue;
        if (!names_key(rule, key, key_size)) continue;
        switch (action) {
        case WEIR_ACTION_STRIP_QUERY:
            if (without_query(key, key_size, text, size) != size) return true;
            break;
        case WEIR_ACTION_MASK_CARD_NUMBERS:
            if (weir_cards_find(text, size)) return true;
            break;
        default: return true;
        }
    }
    return false;
}

static bool set_text(struct weir_buffer *out, const void *text, size_t size) {
    weir_buffer_clear(out);
    weir_buffer_put(out, text, size);
    return !out->failed;
}

static bool hash_text(const struct rule *rule, const uint8_t *text, size_t size, struct weir_buffer *out) {
    static const char digits[] = "0123456789abcdef";
    uint8_t digest[EVP_MAX_MD_SIZE];
    char hex[2 * HASH_BYTES];
    unsigned digest_size = 0;
    HMAC(EVP_sha256(), rule->hash_key, (int)rule->hash_key_size, text, size, digest, &digest_size);
    for (int i = 0; i < HASH_BYTES; i++) {
        hex[2 * i] = digits[digest[i] >> 4];
        hex[2 * i + 1] = digits[digest[i] & 15];
    }
    return set_text(out, hex, sizeof hex);
}

/* False: nothing in it matches. A match that meets its limits hides the whole value: better lost than shown. */
static bool replace_text(const struct rule *rule, const uint8_t *text, size_t size, struct weir_buffer *out) {
    static const uint8_t nothing[1];
    pcre2_match_data *match = pcre2_match_data_create_from_pattern(rule->pattern.code, NULL);
    size_t room = WEIR_RULES_TEXT_MAX;
    uint8_t *to = malloc(room);
    int found = PCRE2_ERROR_NOMEMORY;
    if (match != NULL && to != NULL)
        found = pcre2_substitute(
            rule->pattern.code, size > 0 ? text : nothing, size, 0,
            PCRE2_SUBSTITUTE_GLOBAL | PCRE2_SUBSTITUTE_UNSET_EMPTY | PCRE2_SUBSTITUTE_UNKNOWN_UNSET, match,
            rule->pattern.context, (PCRE2_SPTR)rule->config->replacement, PCRE2_ZERO_TERMINATED, to, &room);
    if (found > 0)
        set_text(out, to, room);
    else if (found < 0)
        set_text(out, hidden, sizeof hidden - 1);
    pcre2_match_data_free(match);
    free(to);
    return found != 0;
}

/* One rule on the value, which is `text` or, once *changed, what is in `out`. */
static void apply_one(const struct rule *rule, const uint8_t *key, size_t key_size, const uint8_t *text, size_t size,
                      bool *changed, struct weir_buffer *out, struct weir_buffer *before) {
    if (*changed) { /* what the rule before left is this one's input */
        struct weir_buffer swap = *before;
        *before = *out;
        *out = swap;
        text = before->bytes;
        size = before->size;
    }
    bool did = false;
    size_t cut;
    switch (rule->config->action) {
    case WEIR_ACTION_HASH: did = hash_text(rule, text, size, out); break;
    case WEIR_ACTION_REPLACE: did = replace_text(rule, text, size, out); break;
    case WEIR_ACTION_STRIP_QUERY:
        cut = without_query(key, key_size, text, size);
        did = cut != size && set_text(out, text, cut);
        break;
    case WEIR_ACTION_MASK_CARD_NUMBERS:
        did = weir_cards_find(text, size) && set_text(out, text, size) && weir_cards_mask(out->bytes, out->size) > 0;
        break;
    default: break;
    }
    if (did) {
        count(rule);
        *changed = true;
    } else if (*changed) {
        struct weir_buffer swap = *before;
        *before = *out;
        *out = swap;
    }
}

enum weir_rules_verdict weir_rules_apply(const struct weir_rules *rules, const uint8_t *key, size_t key_size,
                                         const uint8_t *text, size_t size, bool is_text, struct weir_buffer *out) {
    struct weir_buffer before = {0};
    bool changed = false, dropped = false, hashed = false; /* a hash has digits as a card has, and is none */
    weir_buffer_clear(out);
    for (uint32_t i = 0; i < rules->rule_count && !dropped; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->config->action == WEIR_ACTION_KEEP) {
            dropped = names_key(rule, key, key_size) ? false : !is_kept(rules, key, key_size);
            if (dropped) count(rule);
        } else if (names_key(rule, key, key_size)) {
            if (rule->config->action == WEIR_ACTION_DROP) {
                dropped = true;
                count(rule);
            } else if (hashed && rule->config->action == WEIR_ACTION_MASK_CARD_NUMBERS) {
                continue;
            } else if (is_text || changed || rule->config->action == WEIR_ACTION_HASH) {
                hashed |= rule->config->action == WEIR_ACTION_HASH;
                apply_one(rule, key, key_size, text, size, &changed, out, &before);
            }
        }
    }
    weir_buffer_free(&before);
    return dropped ? WEIR_RULES_DROP : changed ? WEIR_RULES_TEXT : WEIR_RULES_SAME;
}

static const struct rule *rule_of(const struct weir_rules *rules, enum weir_action action) {
    for (uint32_t i = 0; i < rules->rule_count; i++) {
        const struct rule *rule = &rules->rules[i];
        if (rule->config->action == action && (action != WEIR_ACTION_MASK_CARD_NUMBERS || rule->all)) return rule;
    }
    return NULL;
}

bool weir_rules_mask(const struct weir_rules *rules, uint8_t *text, size_t size) {
    if (!rules->look.cards || weir_cards_mask(text, size) == 0) return false;
    weir_rules_count_card(rules);
    return true;
}

void weir_rules_count_strip(const struct weir_rules *rules) {
    const struct rule *rule = rule_of(rules, WEIR_ACTION_STRIP_QUERY);
    if (rule != NULL) count(rule);
}

void weir_rules_count_card(const struct weir_rules *rules) {
    const struct rule *rule = rule_of(rules, WEIR_ACTION_MASK_CARD_NUMBERS);
    if (rule != NULL) count(rule);
}

/* ---- operations ---- */

bool weir_rules_has_operations(const struct weir_rules *rules) {
    return rules != NULL && rules->operation_count > 0;
}

size_t weir_rules_operation(const struct weir_rules *rules, const uint8_t *name, size_t size, char *out,
                            size_t out_size) {
    for (uint32_t i = 0; i < rules->operation_count; i++) {
        const struct pattern *pattern = &rules->operation_patterns[i];
        pcre2_match_data *match = pcre2_match_data_create_from_pattern(pattern->code, NULL);
        if (match == NULL) return 0;
        size_t room = out_size;
        int found = pcre2_match(pattern->code, name, size, 0, 0, match, pattern->context);
        if (found >= 0) { /* the whole name becomes the template, with what the pattern caught */
            found = pcre2_substitute(pattern->code, name, size, 0,
                                     PCRE2_SUBSTITUTE_MATCHED | PCRE2_SUBSTITUTE_REPLACEMENT_ONLY |
                                         PCRE2_SUBSTITUTE_UNSET_EMPTY | PCRE2_SUBSTITUTE_UNKNOWN_UNSET,
                                     match, pattern->context, (PCRE2_SPTR)rules->operations[i].name,
                                     PCRE2_ZERO_TERMINATED, (PCRE2_UCHAR *)out, &room);
        }
        pcre2_match_data_free(match);
        if (found > 0 && room > 0) return room;
    }
    return 0;
}
