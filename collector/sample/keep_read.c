/* keep_read.c - `keep:` of sampling.yaml into rules; their conditions are read by keep_when.c. */
#include "collector/sample/keep_read.h"
#include "collector/core/clock.h"
#include "collector/sample/policy.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static enum weir_status read_positive(const struct weir_keep_reader *reader, const struct weir_yaml *from,
                                      double *out) {
    return weir_reading_number(&reader->file, from, 1e-9, 1e9, "a number above 0", out);
}

static enum weir_status read_count_in(const struct weir_keep_reader *reader, const struct weir_yaml *from, int64_t min,
                                      int64_t max, uint32_t *out) {
    int64_t value = 0;
    char what[64];
    snprintf(what, sizeof what, "a number of %lld to %lld", (long long)min, (long long)max);
    enum weir_status status = weir_reading_whole(&reader->file, from, min, max, what, &value);
    if (status == WEIR_OK) *out = (uint32_t)value;
    return status;
}

static enum weir_status read_key(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                 enum weir_dynamic_field *field) {
    static const char *const fields[] = {"service", "operation", "status", "http_status"};
    static const char *const known[] = {"attribute"};
    struct weir_keep_inside *inside = reader->keep->inside;
    for (uint32_t i = 0; weir_reading_is_text(from) && i < 4; i++) {
        if (strcmp(from->text, fields[i]) != 0) continue;
        *field = (enum weir_dynamic_field)i;
        return WEIR_OK;
    }
    if (from->kind != WEIR_YAML_MAP)
        return weir_reading_not_a(&reader->file, from, "keys",
                                  "one of service, operation, status, http_status, { attribute: KEY }");
    const struct weir_yaml *key = weir_yaml_get(from, "attribute");
    for (const struct weir_yaml *child = from->first; child != NULL; child = child->next) {
        if (child != key) return weir_yaml_unknown(reader->file.doc, child, "keys", known, 1, reader->file.err);
    }
    if (key == NULL || !weir_reading_is_text(key))
        return weir_reading_wrong_kind(&reader->file, from, "keys", "{ attribute: KEY }");
    uint8_t index;
    enum weir_status status = weir_keep_attribute(reader, key, key->text, &index);
    if (status != WEIR_OK) return status;
    uint32_t value = 0;
    while (value < inside->value_count && inside->values[value] != index)
        value++;
    if (value == WEIR_TRACE_VALUES_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "keys: more than %d different attributes in one policy", WEIR_TRACE_VALUES_MAX);
    if (value == inside->value_count) inside->values[inside->value_count++] = index;
    *field = value == 0 ? WEIR_DYNAMIC_VALUE_0 : WEIR_DYNAMIC_VALUE_1;
    return WEIR_OK;
}

static enum weir_status read_dynamic(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                     struct weir_keep_rule *rule) {
    static const char *const known[] = {"keys", "traces_per_second", "share", "window", "max_keys"};
    if (from->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, from, "dynamic", "{ keys: [...], share: ... }");
    struct weir_dynamic_config *dynamic = rule->dynamic = calloc(1, sizeof *dynamic);
    if (dynamic == NULL) return weir_reading_no_memory(&reader->file);
    dynamic->window_ns = 30 * WEIR_S;
    dynamic->keys_max = 500;
    enum weir_status status = WEIR_OK;
    for (const struct weir_yaml *child = from->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (strcmp(child->key, "traces_per_second") == 0) {
            status = read_positive(reader, child, &dynamic->traces_per_second);
        } else if (strcmp(child->key, "share") == 0) {
            status = weir_reading_ratio(&reader->file, child, &dynamic->share);
            if (status == WEIR_OK && dynamic->share == 0)
                status = weir_reading_not_a(&reader->file, child, "share", "above 0");
        } else if (strcmp(child->key, "window") == 0) {
            status = weir_reading_duration(&reader->file, child, WEIR_S, 3600 * WEIR_S, &dynamic->window_ns);
        } else if (strcmp(child->key, "max_keys") == 0) {
            status = read_count_in(reader, child, 1, 100000, &dynamic->keys_max);
        } else if (strcmp(child->key, "keys") == 0) {
            if (child->kind != WEIR_YAML_LIST || child->count == 0 || child->count > WEIR_DYNAMIC_KEYS_MAX)
                return weir_reading_wrong_kind(&reader->file, child, "keys", "a list of 1 to 4 fields");
            for (const struct weir_yaml *one = child->first; status == WEIR_OK && one != NULL; one = one->next)
                status = read_key(reader, one, &dynamic->fields[dynamic->field_count++]);
        } else {
            return weir_yaml_unknown(reader->file.doc, child, "dynamic", known, 5, reader->file.err);
        }
    }
    if (status != WEIR_OK) return status;
    if (dynamic->field_count == 0)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "dynamic: has no keys");
    if ((dynamic->traces_per_second > 0) == (dynamic->share > 0))
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "dynamic: one goal is needed, traces_per_second or share");
    return WEIR_OK;
}

static enum weir_status read_name(struct weir_keep_reader *reader, const struct weir_yaml *from,
                                  struct weir_keep_rule *rule) {
    if (!weir_reading_is_text(from) || *from->text == 0 || strlen(from->text) > 64)
        return weir_reading_not_a(&reader->file, from, "name", "a name of 1 to 64 bytes");
    if (strcmp(from->text, "none") == 0 || strcmp(from->text, "forced") == 0)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "name: %s is what Weir calls traces that %s", from->text,
                              from->text[0] == 'n' ? "no rule matches" : "are kept before any rule");
    for (const struct weir_keep_rule *other = reader->keep->rules; other < rule; other++) {
        if (strcmp(other->name, from->text) == 0)
            return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                                  "name: %s is the name of the rule in line %d", from->text, other->line);
    }
    rule->name = strdup(from->text);
    if (rule->name == NULL) return weir_reading_no_memory(&reader->file);
    rule->name_id = weir_names_intern(reader->file.names, from->text, strlen(from->text));
    if (rule->name_id == WEIR_NAME_OVERFLOW)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "no room for one more name (memory.names)");
    return WEIR_OK;
}

static enum weir_status read_rule(struct weir_keep_reader *reader, const struct weir_yaml *from, uint32_t r) {
    static const char *const known[] = {"name", "when", "rate", "max_traces_per_second", "dynamic", "dry_run"};
    struct weir_keep_rule *rule = &reader->keep->rules[r];
    if (from->kind != WEIR_YAML_MAP)
        return weir_reading_wrong_kind(&reader->file, from, "rules", "{ name: ..., when: ... } in each entry");
    rule->line = from->line;
    rule->rate = 1;
    enum weir_status status = WEIR_OK;
    for (const struct weir_yaml *child = from->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (strcmp(child->key, "name") == 0) {
            status = read_name(reader, child, rule);
        } else if (strcmp(child->key, "when") == 0) {
            struct weir_node *when = NULL;
            status = weir_keep_read_when(reader, child, "when", &when);
            reader->keep->inside->when[r] = when;
        } else if (strcmp(child->key, "rate") == 0) {
            status = weir_reading_ratio(&reader->file, child, &rule->rate);
        } else if (strcmp(child->key, "max_traces_per_second") == 0) {
            status = read_positive(reader, child, &rule->max_traces_per_second);
        } else if (strcmp(child->key, "dynamic") == 0) {
            status = read_dynamic(reader, child, rule);
        } else if (strcmp(child->key, "dry_run") == 0) {
            status = weir_reading_flag(&reader->file, child, &rule->dry_run);
        } else {
            status = weir_yaml_unknown(reader->file.doc, child, "rules", known, sizeof known / sizeof *known,
                                       reader->file.err);
        }
    }
    if (status != WEIR_OK) return status;
    if (rule->name == NULL)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "rules: an entry has no name");
    if (rule->rate == 0 && (rule->max_traces_per_second > 0 || rule->dynamic != NULL))
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err,
                              "rule %s: a rate of 0 keeps nothing; its limit has no effect", rule->name);
    rule->threshold = weir_threshold_of(rule->rate);
    return WEIR_OK;
}

static enum weir_status read_rules(struct weir_keep_reader *reader, const struct weir_yaml *from) {
    uint32_t dynamic = 0;
    if (from->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (from->kind != WEIR_YAML_LIST) return weir_reading_wrong_kind(&reader->file, from, "rules", "a list of rules");
    if (from->count > WEIR_KEEP_RULES_MAX)
        return weir_yaml_fail(reader->file.doc, from->line, reader->file.err, "rules: more than %d",
                              WEIR_KEEP_RULES_MAX);
    for (const struct weir_yaml *one = from->first; one != NULL; one = one->next) {
        enum weir_status status = read_rule(reader, one, reader->keep->rule_count);
        if (status != WEIR_OK) return status;
        dynamic += reader->keep->rules[reader->keep->rule_count++].dynamic != NULL;
        if (dynamic > WEIR_KEEP_DYNAMIC_MAX)
            return weir_yaml_fail(reader->file.doc, one->line, reader->file.err, "rules: more than %d with dynamic",
                                  WEIR_KEEP_DYNAMIC_MAX);
    }
    return WEIR_OK;
}

static enum weir_status read_top(struct weir_keep_reader *reader, const struct weir_yaml *from) {
    static const char *const known[] = {"wait",     "quiet", "memory", "max_trace_spans", "max_trace_bytes",
                                        "compress", "rules"};
    struct weir_keep *keep = reader->keep;
    if (from->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (from->kind != WEIR_YAML_MAP) return weir_reading_wrong_kind(&reader->file, from, "keep", "a map");
    enum weir_status status = WEIR_OK;
    for (const struct weir_yaml *child = from->first; status == WEIR_OK && child != NULL; child = child->next) {
        if (strcmp(child->key, "wait") == 0) {
            status = weir_reading_duration(&reader->file, child, 100 * WEIR_MS, 3600 * WEIR_S, &keep->wait_ns);
        } else if (strcmp(child->key, "quiet") == 0) {
            status = weir_reading_duration(&reader->file, child, 0, 3600 * WEIR_S, &keep->quiet_ns);
        } else if (strcmp(child->key, "memory") == 0) {
            status = weir_reading_bytes(&reader->file, child, 4 << 20, 1ull << 40, "a size of 4MiB to 1TiB",
                                        &keep->memory_bytes);
        } else if (strcmp(child->key, "max_trace_spans") == 0) {
            status = read_count_in(reader, child, 1, 1000000, &keep->trace_spans_max);
        } else if (strcmp(child->key, "max_trace_bytes") == 0) {
            status = weir_reading_bytes(&reader->file, child, 64 << 10, 256 << 20, "a size of 64KiB to 256MiB",
                                        &keep->trace_bytes_max);
        } else if (strcmp(child->key, "compress") == 0) {
            status = weir_reading_flag(&reader->file, child, &keep->compress);
        } else if (strcmp(child->key, "rules") == 0) {
            status = read_rules(reader, child);
        } else {
            status = weir_yaml_unknown(reader->file.doc, child, "keep", known, sizeof known / sizeof *known,
                                       reader->file.err);
        }
    }
    return status;
}

enum weir_status weir_keep_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node, struct weir_names *names,
                                struct weir_keep **keep, struct weir_error *err) {
    struct weir_keep *made = calloc(1, sizeof *made);
    struct weir_keep_reader reader = {.file = {doc, names, err}, .keep = made};
    if (made == NULL) return weir_reading_no_memory(&reader.file);
    made->wait_ns = 10 * WEIR_S;
    made->quiet_ns = WEIR_S;
    made->memory_bytes = 256ull << 20;
    made->trace_spans_max = 10000;
    made->trace_bytes_max = 8ull << 20;
    made->compress = true;
    made->none_id = weir_names_intern(names, "none", 4);
    made->forced_id = weir_names_intern(names, "forced", 6);
    made->inside = calloc(1, sizeof *made->inside);
    if (made->inside != NULL) made->inside->match = pcre2_match_context_create(NULL);
    enum weir_status status = WEIR_OK;
    if (made->inside == NULL || made->inside->match == NULL) {
        status = weir_reading_no_memory(&reader.file);
    } else {
        /* No text may cost more: a span is asked when it arrives. */
        pcre2_set_match_limit(made->inside->match, 20000);
        pcre2_set_heap_limit(made->inside->match, 64 /* KiB */);
        status = read_top(&reader, node);
    }
    if (status != WEIR_OK) {
        weir_keep_free(made);
        return status;
    }
    *keep = made;
    return WEIR_OK;
}
