#include "collector/config/lists.h"

#include "collector/config/values.h"
#include "collector/core/clock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

const char *const weir_action_names[WEIR_ACTIONS + 1] = {
    [WEIR_ACTION_DROP] = "drop",
    [WEIR_ACTION_KEEP] = "keep",
    [WEIR_ACTION_HASH] = "hash",
    [WEIR_ACTION_REPLACE] = "replace",
    [WEIR_ACTION_STRIP_QUERY] = "strip_query",
    [WEIR_ACTION_MASK_CARD_NUMBERS] = "mask_card_numbers",
};
/* Source: grpc doc/statuscodes.md. */
const char *const weir_grpc_code_names[] = {"OK",
                                            "CANCELLED",
                                            "UNKNOWN",
                                            "INVALID_ARGUMENT",
                                            "DEADLINE_EXCEEDED",
                                            "NOT_FOUND",
                                            "ALREADY_EXISTS",
                                            "PERMISSION_DENIED",
                                            "RESOURCE_EXHAUSTED",
                                            "FAILED_PRECONDITION",
                                            "ABORTED",
                                            "OUT_OF_RANGE",
                                            "UNIMPLEMENTED",
                                            "INTERNAL",
                                            "UNAVAILABLE",
                                            "DATA_LOSS",
                                            "UNAUTHENTICATED",
                                            NULL};
const char *const weir_render_names[WEIR_RENDER_KINDS + 1] = {
    [WEIR_RENDER_NGINX] = "nginx", [WEIR_RENDER_NGINX_OTEL] = "nginx-otel", [WEIR_RENDER_LINKERD1] = "linkerd1",
    [WEIR_RENDER_ENVOY] = "envoy", [WEIR_RENDER_OTEL_ENV] = "otel-env",
};
const char *const weir_list_sections[] = {"attributes", "operations", "success", "exclude", "render", NULL};

bool weir_list_is(const char *section) {
    for (const char *const *name = weir_list_sections; *name != NULL; name++) {
        if (strcmp(*name, section) == 0) return true;
    }
    return false;
}

struct reader {
    const struct weir_yaml_doc *doc;
    struct weir_error *err;
    const char *folder;
    char path[48]; /* attributes[3] */
};

static enum weir_status fail(const struct reader *reader, const struct weir_yaml *node, const char *why) {
    return weir_yaml_fail(reader->doc, node->line, reader->err, "%s.%s: %s", reader->path,
                          node->key != NULL ? node->key : "", why);
}

static enum weir_status read_text(const struct reader *reader, const struct weir_yaml *node, char *out, size_t size) {
    if (node->kind != WEIR_YAML_TEXT) return fail(reader, node, "a single value is needed");
    if ((size_t)snprintf(out, size, "%s", node->text) < size) return WEIR_OK;
    return weir_yaml_fail(reader->doc, node->line, reader->err, "%s.%s: is longer than %zu bytes", reader->path,
                          node->key, size - 1);
}

static enum weir_status read_path(const struct reader *reader, const struct weir_yaml *node, char *out, size_t size) {
    if (node->kind != WEIR_YAML_TEXT) return fail(reader, node, "a path is needed");
    const char *folder = node->text[0] == '/' ? "" : reader->folder;
    if ((size_t)snprintf(out, size, "%s%s", folder, node->text) < size) return WEIR_OK;
    return fail(reader, node, "is too long a path");
}

/* A key with `*` only at its end. */
static bool sound_key(const char *key) {
    const char *star = strchr(key, '*');
    return *key != 0 && (star == NULL || star[1] == 0);
}

static enum weir_status read_keys(const struct reader *reader, const struct weir_yaml *node,
                                  struct weir_attribute_config *rule) {
    if (node->kind == WEIR_YAML_TEXT) return fail(reader, node, "a list of keys is needed, such as [user.email]");
    if (node->kind != WEIR_YAML_LIST && node->kind != WEIR_YAML_NULL) return fail(reader, node, "a list is needed");
    for (const struct weir_yaml *item = node->first; item != NULL; item = item->next) {
        if (rule->key_count == WEIR_RULE_KEYS_MAX) return fail(reader, node, "has more than 16 keys");
        if (item->kind != WEIR_YAML_TEXT || !sound_key(item->text) || strlen(item->text) >= sizeof rule->keys[0])
            return fail(reader, node, "a key is up to 63 bytes, with `*` at its end at most");
        snprintf(rule->keys[rule->key_count++], sizeof rule->keys[0], "%s", item->text);
    }
    return WEIR_OK;
}

static enum weir_status read_word(const struct reader *reader, const struct weir_yaml *node, const char *const *words,
                                  int *index) {
    char list[256] = "";
    for (*index = 0; words[*index] != NULL; ++*index) {
        if (node->kind == WEIR_YAML_TEXT && strcmp(node->text, words[*index]) == 0) return WEIR_OK;
        size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s", used == 0 ? "" : ", ", words[*index]);
    }
    return weir_yaml_fail(reader->doc, node->line, reader->err, "%s.%s: is none of %s", reader->path, node->key, list);
}

static enum weir_status unknown(const struct reader *reader, const struct weir_yaml *node, const char *const *known) {
    size_t count = 0;
    while (known[count] != NULL)
        count++;
    return weir_yaml_unknown(reader->doc, node, reader->path, known, count, reader->err);
}

/* ---- attributes ---- */

static enum weir_status read_attribute(const struct reader *reader, const struct weir_yaml *map,
                                       struct weir_attribute_config *rule) {
    static const char *const known[] = {"keys", "action", "name", "pattern", "replacement", "key_file", NULL};
    bool has_action = false, has_keys = false, has_replacement = false;
    enum weir_status status = WEIR_OK;
    rule->line = map->line;
    for (const struct weir_yaml *node = map->first; status == WEIR_OK && node != NULL; node = node->next) {
        if (strcmp(node->key, "keys") == 0) {
            status = read_keys(reader, node, rule);
            has_keys = true;
        } else if (strcmp(node->key, "action") == 0) {
            int action;
            status = read_word(reader, node, weir_action_names, &action);
            rule->action = (enum weir_action)action;
            has_action = true;
        } else if (strcmp(node->key, "name") == 0) {
            status = read_text(reader, node, rule->name, sizeof rule->name);
        } else if (strcmp(node->key, "pattern") == 0) {
            status = read_text(reader, node, rule->pattern, sizeof rule->pattern);
        } else if (strcmp(node->key, "replacement") == 0) {
            status = read_text(reader, node, rule->replacement, sizeof rule->replacement);
            has_replacement = true;
        } else if (strcmp(node->key, "key_file") == 0) {
            status = read_path(reader, node, rule->key_file, sizeof rule->key_file);
        } else {
            status = unknown(reader, node, known);
        }
    }
    if (status != WEIR_OK) return status;
    const char *why = NULL;
    if (!has_action)
        why = "action is missing";
    else if (!has_keys)
        why = "keys is missing";
    else if ((rule->action == WEIR_ACTION_REPLACE) != (rule->pattern[0] != 0))
        why = rule->pattern[0] != 0 ? "pattern is for action replace only" : "pattern is missing";
    else if (has_replacement && rule->action != WEIR_ACTION_REPLACE)
        why = "replacement is for action replace only";
    else if (rule->key_file[0] != 0 && rule->action != WEIR_ACTION_HASH)
        why = "key_file is for action hash only";
    if (why != NULL) return weir_yaml_fail(reader->doc, map->line, reader->err, "%s: %s", reader->path, why);
    if (rule->name[0] == 0) snprintf(rule->name, sizeof rule->name, "%s", weir_action_names[rule->action]);
    for (const char *at = rule->name; *at != 0; at++) {
        if (*at == '"' || *at == '\\' || (unsigned char)*at < 0x20)
            return weir_yaml_fail(reader->doc, map->line, reader->err, "%s.name: a label without quotes is needed",
                                  reader->path);
    }
    return WEIR_OK;
}

/* ---- operations ---- */

static enum weir_status read_operation(const struct reader *reader, const struct weir_yaml *map,
                                       struct weir_operation_config *rule) {
    static const char *const known[] = {"match", "name", NULL};
    enum weir_status status = WEIR_OK;
    rule->line = map->line;
    for (const struct weir_yaml *node = map->first; status == WEIR_OK && node != NULL; node = node->next) {
        if (strcmp(node->key, "match") == 0)
            status = read_text(reader, node, rule->match, sizeof rule->match);
        else if (strcmp(node->key, "name") == 0)
            status = read_text(reader, node, rule->name, sizeof rule->name);
        else
            status = unknown(reader, node, known);
    }
    if (status != WEIR_OK || (rule->match[0] != 0 && rule->name[0] != 0)) return status;
    return weir_yaml_fail(reader->doc, map->line, reader->err, "%s: match and name are needed", reader->path);
}

/* ---- success, exclude ---- */

static bool status_number(const char **at, uint16_t *value) {
    char *end;
    long number = strtol(*at, &end, 10);
    if (end != *at + 3 || number < 100 || number > 999) return false;
    *value = (uint16_t)number;
    *at = end;
    return true;
}

/* 404, 200-499 */
static enum weir_status read_range(const struct reader *reader, const struct weir_yaml *node,
                                   struct weir_judge_config *judge) {
    const char *at = node->kind == WEIR_YAML_TEXT ? node->text : "";
    bool ok = status_number(&at, &judge->http_min);
    judge->http_max = judge->http_min;
    if (ok && *at == '-') ok = at++, status_number(&at, &judge->http_max);
    if (ok && *at == 0 && judge->http_max >= judge->http_min) return WEIR_OK;
    return fail(reader, node, "is no status or range of them, such as 404 or 200-499");
}

static enum weir_status read_codes(const struct reader *reader, const struct weir_yaml *node, uint32_t *codes) {
    if (node->kind != WEIR_YAML_LIST) return fail(reader, node, "a list of codes is needed, such as [OK, NOT_FOUND]");
    for (const struct weir_yaml *item = node->first; item != NULL; item = item->next) {
        int code = 0;
        while (weir_grpc_code_names[code] != NULL &&
               (item->kind != WEIR_YAML_TEXT || strcmp(item->text, weir_grpc_code_names[code]) != 0))
            code++;
        if (weir_grpc_code_names[code] == NULL) return fail(reader, node, "has a code that gRPC has not");
        *codes |= 1u << code;
    }
    return WEIR_OK;
}

static enum weir_status read_equals(const struct reader *reader, const struct weir_yaml *map,
                                    struct weir_judge_config *judge) {
    static const char *const known[] = {"key", "equals", NULL};
    enum weir_status status = WEIR_OK;
    if (map->kind != WEIR_YAML_MAP) return fail(reader, map, "needs { key: ..., equals: ... }");
    for (const struct weir_yaml *node = map->first; status == WEIR_OK && node != NULL; node = node->next) {
        if (strcmp(node->key, "key") == 0)
            status = read_text(reader, node, judge->key, sizeof judge->key);
        else if (strcmp(node->key, "equals") == 0)
            status = read_text(reader, node, judge->equals, sizeof judge->equals);
        else
            status = unknown(reader, node, known);
    }
    if (status != WEIR_OK || judge->key[0] != 0) return status;
    return fail(reader, map, "key is missing");
}

static enum weir_status read_judge(const struct reader *reader, const struct weir_yaml *map, bool is_success,
                                   struct weir_judge_config *judge) {
    static const char *const of_success[] = {"service",   "operation", "http_status", "grpc_codes",
                                             "attribute", "success",   NULL};
    static const char *const of_exclude[] = {"service", "operation", "http_status", "grpc_codes", "attribute", NULL};
    enum weir_status status = WEIR_OK;
    bool has_success = false;
    judge->line = map->line;
    judge->success = true;
    for (const struct weir_yaml *node = map->first; status == WEIR_OK && node != NULL; node = node->next) {
        if (strcmp(node->key, "service") == 0) {
            status = read_text(reader, node, judge->service, sizeof judge->service);
        } else if (strcmp(node->key, "operation") == 0) {
            status = read_text(reader, node, judge->operation, sizeof judge->operation);
        } else if (strcmp(node->key, "http_status") == 0) {
            status = read_range(reader, node, judge);
        } else if (strcmp(node->key, "grpc_codes") == 0) {
            status = read_codes(reader, node, &judge->grpc_codes);
        } else if (strcmp(node->key, "attribute") == 0) {
            status = read_equals(reader, node, judge);
        } else if (is_success && strcmp(node->key, "success") == 0) {
            static const char *const words[] = {"false", "true", NULL};
            int word;
            status = read_word(reader, node, words, &word);
            judge->success = word == 1;
            has_success = true;
        } else {
            status = unknown(reader, node, is_success ? of_success : of_exclude);
        }
    }
    if (status != WEIR_OK) return status;
    bool any = judge->service[0] != 0 || judge->operation[0] != 0 || judge->http_min != 0 || judge->grpc_codes != 0 ||
               judge->key[0] != 0;
    if (!any)
        return weir_yaml_fail(reader->doc, map->line, reader->err, "%s: would be all spans; name some", reader->path);
    if (is_success && !has_success)
        return weir_yaml_fail(reader->doc, map->line, reader->err, "%s: success is missing, true or false",
                              reader->path);
    return WEIR_OK;
}

/* ---- render ---- */

/* Its folder has to be there now: a name with a slip in it would be found out only when a policy changes. */
static enum weir_status check_place(const struct reader *reader, const struct weir_config *config,
                                    const struct weir_render_config *render) {
    char folder[WEIR_TEXT_MAX + 2];
    struct stat about;
    const char *slash = strrchr(render->path, '/');
    size_t size = slash == NULL ? 0 : (size_t)(slash - render->path);
    snprintf(folder, sizeof folder, "%.*s%s", (int)size, render->path, slash == NULL ? "." : size == 0 ? "/" : "");
    if (stat(folder, &about) != 0 || !S_ISDIR(about.st_mode))
        return weir_yaml_fail(reader->doc, render->line, reader->err, "%s.path: there is no folder %.120s",
                              reader->path, folder);
    if (stat(render->path, &about) == 0 && !S_ISREG(about.st_mode))
        return weir_yaml_fail(reader->doc, render->line, reader->err, "%s.path: %.120s is no file", reader->path,
                              render->path);
    for (uint32_t i = 0; i < config->render_count; i++) {
        if (strcmp(config->renders[i].path, render->path) == 0)
            return weir_yaml_fail(reader->doc, render->line, reader->err, "%s.path: render[%u] writes there already",
                                  reader->path, i);
    }
    return WEIR_OK;
}

static enum weir_status read_duration(const struct reader *reader, const struct weir_yaml *node, uint64_t *out) {
    if (node->kind == WEIR_YAML_TEXT && weir_value_duration(node->text, out) && *out >= 100 * WEIR_MS &&
        *out <= 3600 * WEIR_S)
        return WEIR_OK;
    return fail(reader, node, "is no duration of 100ms to 1h, such as 10s");
}

static enum weir_status read_render(const struct reader *reader, const struct weir_yaml *map,
                                    struct weir_config *config) {
    static const char *const known[] = {"for",     "service",      "path",     "command",
                                        "timeout", "min_interval", "incoming", NULL};
    struct weir_render_config *render = &config->renders[config->render_count];
    enum weir_status status = WEIR_OK;
    bool has_kind = false;
    render->line = map->line;
    render->timeout_ns = render->min_interval_ns = 10 * WEIR_S;
    for (const struct weir_yaml *node = map->first; status == WEIR_OK && node != NULL; node = node->next) {
        if (strcmp(node->key, "for") == 0) {
            int kind;
            status = read_word(reader, node, weir_render_names, &kind);
            render->kind = (enum weir_render_kind)kind;
            has_kind = true;
        } else if (strcmp(node->key, "service") == 0) {
            status = read_text(reader, node, render->service, sizeof render->service);
        } else if (strcmp(node->key, "path") == 0) {
            status = read_path(reader, node, render->path, sizeof render->path);
        } else if (strcmp(node->key, "command") == 0) {
            status = read_text(reader, node, render->command, sizeof render->command);
        } else if (strcmp(node->key, "timeout") == 0) {
            status = read_duration(reader, node, &render->timeout_ns);
        } else if (strcmp(node->key, "min_interval") == 0) {
            status = read_duration(reader, node, &render->min_interval_ns);
        } else if (strcmp(node->key, "incoming") == 0) {
            static const char *const words[] = {"honour", "ignore", NULL};
            int word;
            status = read_word(reader, node, words, &word);
            render->ignore_incoming = word == 1;
        } else {
            status = unknown(reader, node, known);
        }
    }
    if (status != WEIR_OK) return status;
    if (!has_kind || render->path[0] == 0)
        return weir_yaml_fail(reader->doc, map->line, reader->err, "%s: for and path are needed", reader->path);
    if (render->ignore_incoming && render->kind != WEIR_RENDER_NGINX)
        return weir_yaml_fail(reader->doc, map->line, reader->err, "%s.incoming: is for nginx only", reader->path);
    return check_place(reader, config, render);
}

/* ---- the sections ---- */

enum weir_status weir_list_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node, const char *folder,
                                struct weir_config *config, struct weir_error *err) {
    struct reader reader = {.doc = doc, .err = err, .folder = folder};
    uint32_t *count = strcmp(node->key, "attributes") == 0   ? &config->attribute_count
                      : strcmp(node->key, "operations") == 0 ? &config->operation_count
                      : strcmp(node->key, "success") == 0    ? &config->success_count
                      : strcmp(node->key, "render") == 0     ? &config->render_count
                                                             : &config->exclude_count;
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_LIST)
        return weir_yaml_fail(doc, node->line, err, "%s: is %s, a list is needed", node->key,
                              weir_yaml_kind_name(node->kind));
    for (const struct weir_yaml *item = node->first; item != NULL; item = item->next) {
        enum weir_status status;
        snprintf(reader.path, sizeof reader.path, "%s[%u]", node->key, *count);
        if (*count == WEIR_RULES_MAX)
            return weir_yaml_fail(doc, item->line, err, "%s: more than %d entries", node->key, WEIR_RULES_MAX);
        if (item->kind != WEIR_YAML_MAP)
            return weir_yaml_fail(doc, item->line, err, "%s: is %s, a map is needed", reader.path,
                                  weir_yaml_kind_name(item->kind));
        if (count == &config->attribute_count)
            status = read_attribute(&reader, item, &config->attributes[*count]);
        else if (count == &config->operation_count)
            status = read_operation(&reader, item, &config->operations[*count]);
        else if (count == &config->success_count)
            status = read_judge(&reader, item, true, &config->success[*count]);
        else if (count == &config->render_count)
            status = read_render(&reader, item, config);
        else
            status = read_judge(&reader, item, false, &config->exclude[*count]);
        if (status != WEIR_OK) return status;
        ++*count;
    }
    return WEIR_OK;
}
