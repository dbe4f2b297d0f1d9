#include "collector/cli/import/write.h"
#include "collector/config/values.h"
#include "collector/core/names.h"
#include "collector/core/utf8.h"
#include "collector/sample/keep.h"
#include "collector/sample/policy.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { COLUMNS = 100 /* of comments and conditions in the file */ };

/* ---- text ---- */

/* One character of UTF-8 (checked by the reader of the file): its size, and whether a YAML reader takes it as it is. */
static size_t character(const char *text, uint32_t *code, bool *plain) {
    const uint8_t *p = (const uint8_t *)text;
    size_t size = p[0] < 0x80 ? 1 : p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
    *code = size == 1 ? p[0] : p[0] & (0x7fu >> size);
    for (size_t i = 1; i < size; i++) {
        if ((p[i] & 0xc0) != 0x80) {
            *plain = false;
            return 1;
        }
        *code = *code << 6 | (p[i] & 0x3f);
    }
    *plain = *code >= 0x20 && *code != 0x7f && !(*code >= 0x80 && *code < 0xa0) && *code != 0x2028 && *code != 0x2029 &&
             *code != 0xfeff && *code != 0xfffe && *code != 0xffff;
    return size;
}

static void quote(struct weir_buffer *out, const char *text, bool is_key) {
    weir_buffer_byte(out, '"');
    for (const char *p = text; *p != 0;) {
        uint32_t code;
        bool plain;
        size_t size = character(p, &code, &plain);
        if (*p == '"' || *p == '\\') weir_buffer_byte(out, '\\');
        if (!is_key && strncmp(p, "${", 2) == 0 && strncmp(p, "${env:", 6) != 0) weir_buffer_byte(out, '$');
        if (plain) {
            weir_buffer_put(out, p, size);
        } else {
            weir_buffer_printf(out, code < 0x100 ? "\\x%02x" : "\\u%04x", code & 0xffff);
        }
        p += size;
    }
    weir_buffer_byte(out, '"');
}

void weir_import_quote(struct weir_buffer *out, const char *text) {
    quote(out, text, false);
}

void weir_import_quote_key(struct weir_buffer *out, const char *text) {
    quote(out, text, true);
}

void weir_import_escape(struct weir_buffer *out, const char *text) {
    for (const char *p = text; *p != 0; p++) {
        if (strchr("\\^$.[]|()?*+{}", *p) != NULL) weir_buffer_byte(out, '\\');
        weir_buffer_byte(out, (uint8_t)*p);
    }
}

void weir_import_quote_list(struct weir_buffer *out, const struct weir_yaml *values) {
    const struct weir_yaml *one = values->kind == WEIR_YAML_LIST ? values->first : values;
    bool alone = one != NULL && (values->kind != WEIR_YAML_LIST || values->count == 1);
    if (!alone) weir_buffer_byte(out, '[');
    for (bool first = true; one != NULL; one = values->kind == WEIR_YAML_LIST ? one->next : NULL) {
        if (one->kind != WEIR_YAML_TEXT) continue;
        if (!first) weir_buffer_text(out, ", ");
        weir_import_quote(out, one->text);
        first = false;
    }
    if (!alone) weir_buffer_byte(out, ']');
}

void weir_import_print(struct weir_buffer *out, double number) {
    char text[40];
    if (!isfinite(number)) number = 0;
    snprintf(text, sizeof text, "%.9g", number);
    if (strpbrk(text, "eE") != NULL) { /* a ratio is read without exponent */
        snprintf(text, sizeof text, fabs(number) < 1 ? "%.20f" : "%.0f", number);
    }
    weir_buffer_text(out, text);
}

void weir_import_comment(struct weir_buffer *out, uint32_t indent, const char *text) {
    const char *word = text;
    uint32_t column = 0;
    while (*word != 0) {
        size_t size = strcspn(word, " \n\r\t");
        if (column > 0 && column + 1 + size > COLUMNS) {
            weir_buffer_byte(out, '\n');
            column = 0;
        }
        if (column == 0) {
            weir_buffer_printf(out, "%*s#", (int)indent, "");
            column = indent + 1;
        }
        weir_buffer_byte(out, ' ');
        for (const char *p = word; p < word + size;) { /* what would end the comment, or the file, is no text */
            uint32_t code;
            bool plain;
            size_t bytes = character(p, &code, &plain);
            weir_buffer_put(out, plain ? p : "?", plain ? bytes : 1);
            p += bytes;
        }
        column += (uint32_t)size + 1;
        word += size;
        word += strspn(word, " \r\t");
        if (*word == '\n') {
            weir_buffer_byte(out, '\n');
            column = 0;
            word++;
        }
    }
    if (column > 0) weir_buffer_byte(out, '\n');
}

/* ---- members ---- */

const char *weir_import_text(const struct weir_yaml *map, const char *key) {
    const struct weir_yaml *node = map == NULL ? NULL : weir_yaml_get(map, key);
    return node != NULL && node->kind == WEIR_YAML_TEXT ? node->text : NULL;
}

bool weir_import_number(const struct weir_yaml *map, const char *key, double *out) {
    const char *text = weir_import_text(map, key);
    char digits[32];
    size_t size = 0;
    for (; text != NULL && *text != 0; text++) { /* 100_000 */
        if (*text == '_') continue;
        if (size + 1 >= sizeof digits) return false;
        digits[size++] = *text;
    }
    digits[size] = 0;
    return size > 0 && weir_value_number(digits, out);
}

bool weir_import_flag(const struct weir_yaml *map, const char *key) {
    const char *text = weir_import_text(map, key);
    bool value = false;
    return text != NULL && weir_value_bool(text, &value) && value;
}

/* ---- rules ---- */

static bool is_taken(const struct import *import, const char *name) {
    for (uint32_t i = 0; i + 1 < import->rule_count; i++) {
        if (strcmp((const char *)import->rules[i].name.bytes, name) == 0) return true;
    }
    return strcmp(name, "none") == 0 || strcmp(name, "forced") == 0;
}

/* At most 64 bytes, on a character's border, and no other rule's. */
static void name_rule(struct import *import, struct import_rule *rule, const char *name) {
    char text[80], made[80];
    snprintf(made, sizeof made, "rule-%u", import->rule_count);
    if (name == NULL || *name == 0) name = made;
    size_t size = strlen(name);
    if (size > 60) {
        size = 60;
        while (size > 0 && ((uint8_t)name[size] & 0xc0) == 0x80)
            size--;
    }
    snprintf(text, sizeof text, "%.*s", (int)size, name);
    for (uint32_t n = 2; is_taken(import, text); n++)
        snprintf(text, sizeof text, "%.*s-%u", (int)size, name, n);
    weir_buffer_put(&rule->name, text, strlen(text) + 1);
    if (rule->name.failed) import->no_memory = true;
}

struct import_rule *weir_import_rule(struct import *import, const struct weir_yaml *from, const char *name) {
    if (import->rule_count == IMPORT_RULES_MAX) {
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, from->line, "more than %d rules", IMPORT_RULES_MAX);
        return NULL;
    }
    struct import_rule *rule = &import->rules[import->rule_count++];
    *rule = (struct import_rule){.rate = 1, .class = IMPORT_KEEP, .place = import->rule_count, .line = from->line};
    name_rule(import, rule, name);
    return import->no_memory ? NULL : rule;
}

static void note_line(struct import *import, enum import_note note, const struct import_rule *rule, int line,
                      const char *text) {
    struct weir_import_result *result = import->result;
    if (note == IMPORT_MIND) return;
    if (note == IMPORT_LEFT_OUT) result->left_out++;
    if (note == IMPORT_ROUGH) result->rough++;
    weir_buffer_printf(&result->notes, "%s:%d: %s: %s%s%s\n", import->doc->name, line,
                       note == IMPORT_LEFT_OUT ? "left out" : "roughly",
                       rule == NULL ? "" : (const char *)rule->name.bytes, rule == NULL ? "" : ": ", text);
}

void weir_import_note(struct import *import, struct import_rule *rule, enum import_note note, int line,
                      const char *format, ...) {
    va_list args;
    char text[700], flat[700];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    size_t used = 0;
    for (const char *p = text; *p != 0;) {
        uint32_t code;
        bool plain;
        size_t size = character(p, &code, &plain);
        if (strlen(p) < size) break; /* cut within a character */
        if (plain) memcpy(flat + used, p, size);
        if (!plain) flat[used] = '?';
        used += plain ? size : 1;
        p += size;
    }
    flat[used] = 0;
    static const char *const kinds[] = {"LEFT OUT: ", "ROUGHLY: ", ""};
    struct weir_buffer *comment = rule == NULL ? &import->head : &rule->comment;
    weir_buffer_printf(comment, "%s%s\n", kinds[note], flat);
    if (rule != NULL && note == IMPORT_LEFT_OUT) rule->left_out = true;
    note_line(import, note, rule, line, flat);
}

void weir_import_when(struct import_rule *rule, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int size = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (size >= 0 && weir_buffer_room(&rule->when, (size_t)size + 1)) {
        vsnprintf((char *)rule->when.bytes + rule->when.size, (size_t)size + 1, format, again);
        rule->when.size += (size_t)size;
        weir_buffer_byte(&rule->when, '\n');
        rule->conditions++;
    }
    va_end(again);
}

void weir_import_all(struct weir_buffer *out, const char *conditions, uint32_t count) {
    if (count > 1) weir_buffer_text(out, "all: [");
    for (const char *at = conditions, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        if (count > 1) weir_buffer_text(out, at == conditions ? "{ " : ", { ");
        weir_buffer_put(out, at, (size_t)(end - at));
        if (count > 1) weir_buffer_text(out, " }");
    }
    if (count > 1) weir_buffer_byte(out, ']');
}

/* ---- the file ---- */

/* All traces match it, so those behind it are never asked. */
static bool takes_all(const struct import_rule *rule) {
    return !rule->left_out && rule->conditions == 0;
}

/* Where a rule stands. Of THINNED rules, which keep by the same R, the one with the highest rate decides, as it would
 * if all were asked; one without conditions takes every trace, so what has a limit and conditions goes before it. */
static int rank(const struct import_rule *rule, double widest) {
    switch (rule->class) {
    case IMPORT_DROP: return 0;
    case IMPORT_KEEP: return rule->conditions > 0 ? 1 : 2;
    case IMPORT_THINNED: return rule->conditions > 0 && rule->rate > widest ? 3 : 5;
    case IMPORT_LIMITED: return rule->conditions > 0 ? 4 : 6;
    case IMPORT_REST: return 7;
    default: return 0; /* IN_ORDER, which are all of them */
    }
}

/* Few enough for insertion, which is stable. */
static void sort_rules(struct import *import) {
    double widest = 0; /* the highest rate of a THINNED rule that matches all */
    for (uint32_t i = 0; i < import->rule_count; i++) {
        const struct import_rule *rule = &import->rules[i];
        if (rule->class == IMPORT_THINNED && takes_all(rule) && rule->rate > widest) widest = rule->rate;
    }
    for (uint32_t i = 1; i < import->rule_count; i++) {
        struct import_rule rule = import->rules[i];
        uint32_t at = i;
        for (; at > 0; at--) {
            const struct import_rule *before = &import->rules[at - 1];
            int order = rank(before, widest) - rank(&rule, widest);
            if (order == 0 && rule.class == IMPORT_THINNED) order = before->rate < rule.rate;
            if (order <= 0) break;
            import->rules[at] = *before;
        }
        import->rules[at] = rule;
    }
}

static void write_rule(struct weir_buffer *out, const struct import_rule *rule) {
    weir_buffer_text(out, "    - name: ");
    weir_import_quote(out, (const char *)rule->name.bytes);
    weir_buffer_byte(out, '\n');
    if (rule->conditions == 1) {
        weir_buffer_printf(out, "      when: { %.*s }\n", (int)rule->when.size - 1, (const char *)rule->when.bytes);
    } else if (rule->conditions > 1) {
        weir_buffer_text(out, "      when:\n        all:\n");
        const char *at = (const char *)rule->when.bytes, *stop = at + rule->when.size;
        for (const char *end; at < stop; at = end + 1) {
            end = memchr(at, '\n', (size_t)(stop - at));
            weir_buffer_printf(out, "          - { %.*s }\n", (int)(end - at), at);
        }
    }
    if (rule->rate != 1 || (rule->conditions == 0 && rule->limit == 0 && rule->dynamic.size == 0)) {
        weir_buffer_text(out, "      rate: ");
        weir_import_print(out, rule->rate);
        weir_buffer_byte(out, '\n');
    }
    if (rule->limit > 0) {
        weir_buffer_text(out, "      max_traces_per_second: ");
        weir_import_print(out, rule->limit);
        weir_buffer_byte(out, '\n');
    }
    if (rule->dynamic.size > 0)
        weir_buffer_printf(out, "      dynamic: { %.*s }\n", (int)rule->dynamic.size,
                           (const char *)rule->dynamic.bytes);
}

/* Does Weir take `out` as it is now? */
static bool passes(const struct weir_buffer *out, struct weir_error *err) {
    struct weir_names *names = weir_names_new(8192, 4 << 20);
    struct weir_policy *policy = NULL;
    bool passed = names != NULL && weir_policy_parse("", out->bytes, out->size, names, &policy, err) == WEIR_OK;
    weir_policy_unref(policy);
    weir_names_free(names);
    return passed;
}

/* Lines from `from` on become comments: what was written there is left out after all. */
static void comment_out(struct weir_buffer *out, size_t from) {
    struct weir_buffer text = {0};
    weir_buffer_put(&text, out->bytes + from, out->size - from);
    weir_buffer_byte(&text, 0);
    out->size = from;
    if (!text.failed) {
        for (char *at = (char *)text.bytes, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
            size_t indent = strspn(at, " ");
            if (indent > 4) indent = 4;
            weir_buffer_printf(out, "%.*s# %.*s\n", (int)indent, at, (int)(end - at - (ptrdiff_t)indent), at + indent);
        }
    }
    out->failed = out->failed || text.failed;
    weir_buffer_free(&text);
}

static void write_comment(struct weir_buffer *out, uint32_t indent, struct weir_buffer *text) {
    weir_buffer_byte(text, 0);
    if (!text->failed) weir_import_comment(out, indent, (const char *)text->bytes);
    out->failed = out->failed || text->failed;
}

/* `last` matches every trace, so `rule` is never asked. */
static void note_behind(struct import *import, struct import_rule *rule, const struct import_rule *last) {
    const char *name = (const char *)last->name.bytes;
    if (rule->class == IMPORT_IN_ORDER) {
        weir_import_note(import, rule, IMPORT_MIND, rule->line, "never asked, here as there: %s takes every trace",
                         name);
    } else if (rule->class == IMPORT_THINNED || last->class == IMPORT_KEEP) {
        weir_import_note(import, rule, IMPORT_MIND, rule->line, "never asked, and needs not be: %s keeps what it would",
                         name);
    } else {
        weir_import_note(import, rule, IMPORT_ROUGH, rule->line, "never asked here: %s takes every trace before", name);
    }
}

void weir_import_write(struct import *import) {
    struct weir_buffer *out = &import->result->out;
    if (import->head.size > 0) write_comment(out, 0, &import->head);
    sort_rules(import);
    if (import->rule_count > 0 || import->settings.size > 0) weir_buffer_text(out, "keep:\n");
    weir_buffer_put(out, import->settings.bytes, import->settings.size);
    if (import->rule_count > 0) weir_buffer_text(out, "  rules:\n");
    const struct import_rule *last = NULL;
    bool has_rest = import->rule_count > 0 && import->rules[import->rule_count - 1].class == IMPORT_REST;
    for (uint32_t i = 0; i < import->rule_count && !out->failed; i++) {
        struct import_rule *rule = &import->rules[i];
        if (!rule->left_out && has_rest && rule->class != IMPORT_REST &&
            import->result->rules + 1 == WEIR_KEEP_RULES_MAX) /* one is for the rest */
            weir_import_note(import, rule, IMPORT_LEFT_OUT, rule->line, "more than %d rules", WEIR_KEEP_RULES_MAX);
        struct weir_error err = {0};
        if (last != NULL && rule->class == IMPORT_REST) continue;
        if (last != NULL && !rule->left_out) note_behind(import, rule, last);
        if (rule->comment.size > 0) write_comment(out, 4, &rule->comment);
        if (rule->left_out) {
            struct weir_buffer what = {0};
            weir_buffer_printf(&what, "(%s, line %d)", (const char *)rule->name.bytes, rule->line);
            write_comment(out, 4, &what);
            weir_buffer_free(&what);
            continue;
        }
        size_t start = out->size;
        write_rule(out, rule);
        rule->left_out = rule->when.failed || rule->dynamic.failed;
        if (passes(out, &err)) {
            import->result->rules++;
            if (takes_all(rule)) last = rule;
            continue;
        }
        comment_out(out, start);
        const char *why = err.text[0] == ':' ? strchr(err.text + 1, ':') : NULL;
        why = why == NULL ? err.text : why + 2;
        weir_import_note(import, rule, IMPORT_LEFT_OUT, rule->line, "Weir does not take it: %s", why);
        weir_import_comment(out, 4, "LEFT OUT, as Weir does not take it:");
        weir_import_comment(out, 4, why);
    }
    if (import->no_memory) out->failed = true;
}
