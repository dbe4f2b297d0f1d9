#include "collector/cli/import/fields.h"
#include "collector/config/values.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum op { EQ, NE, GT, GE, LT, LE, STARTS, CONTAINS, LACKS, EXISTS, MISSING, MATCHES, IN, NOT_IN, HAS_ROOT, OPERATORS };
static const char *const operators[OPERATORS] = {
    [EQ] = "=",
    [NE] = "!=",
    [GT] = ">",
    [GE] = ">=",
    [LT] = "<",
    [LE] = "<=",
    [STARTS] = "starts-with",
    [CONTAINS] = "contains",
    [LACKS] = "does-not-contain",
    [EXISTS] = "exists",
    [MISSING] = "not-exists",
    [MATCHES] = "matches",
    [IN] = "in",
    [NOT_IN] = "not-in",
    [HAS_ROOT] = "has-root-span",
};

struct condition {
    enum op op;
    const struct weir_yaml *value; /* may be NULL */
    const char *text;              /* of a scalar value; NULL */
    const char *datatype;          /* "" when not said */
};

/* Fields that Honeycomb's spans have and OpenTelemetry's attributes do not: Weir knows them by names of its own. */
static bool is_one_of(const char *field, const char *const *names, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(field, names[i]) == 0) return true;
    }
    return false;
}
#define IS(field, ...)                                                                                                 \
    is_one_of(field, (const char *const[]){__VA_ARGS__},                                                               \
              sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

const char *weir_import_key_of(const char *field) {
    if (IS(field, "service.name", "service_name")) return "service";
    if (IS(field, "name")) return "operation";
    if (IS(field, "error", "status_code")) return "status";
    if (IS(field, "http.status_code", "http.response.status_code", "response.status_code")) return "http_status";
    return NULL;
}

static bool is_order(enum op op) {
    return op == GT || op == GE || op == LT || op == LE;
}

/* service, operation, kind: names, exact or their beginning. */
static const char *name_condition(const char *key, const struct condition *condition, struct weir_buffer *out) {
    bool negative = condition->op == NE || condition->op == NOT_IN;
    switch (condition->op) {
    case EQ:
    case NE:
    case IN:
    case NOT_IN:
        if (condition->value == NULL) return "it has no value";
        if (negative) weir_buffer_text(out, "not: { ");
        weir_buffer_printf(out, "%s: ", key);
        weir_import_quote_list(out, condition->value);
        if (negative) weir_buffer_text(out, " }");
        return NULL;
    case STARTS: {
        char text[512];
        if (condition->text == NULL || strlen(condition->text) + 2 > sizeof text) return "it has no value";
        snprintf(text, sizeof text, "%s*", condition->text);
        weir_buffer_printf(out, "%s: ", key);
        weir_import_quote(out, text);
        return NULL;
    }
    default: return "only =, !=, in, not-in and starts-with can be said of a name";
    }
}

static const char *duration_condition(const struct condition *condition, struct weir_buffer *out) {
    double ms;
    if (!is_order(condition->op) && condition->op != EQ) return "only =, >, >=, < and <= can be said of a duration";
    if (condition->text == NULL || !weir_value_number(condition->text, &ms) || ms < 0 || ms > 1e12)
        return "its value is no number of milliseconds";
    const char *sign = condition->op == EQ ? "" : operators[condition->op];
    char text[32];
    weir_value_print_duration((uint64_t)(ms * 1e6 + 0.5), text, sizeof text);
    weir_buffer_printf(out, "duration: \"%s%s\"", sign, text);
    return NULL;
}

/* error = true, error exists; status_code = 2 */
static const char *error_condition(const struct condition *condition, bool by_code, struct weir_buffer *out) {
    bool yes = false;
    if (condition->op == EXISTS && !by_code) {
        yes = true;
    } else if (condition->op == MISSING && !by_code) {
        yes = false;
    } else if (condition->text == NULL || (condition->op != EQ && condition->op != NE)) {
        return "only = and != can be said of it";
    } else if (by_code) {
        yes = strcmp(condition->text, "2") == 0;
    } else if (!weir_value_bool(condition->text, &yes)) {
        return "its value is neither true nor false";
    }
    if (condition->op == NE) yes = !yes;
    weir_buffer_printf(out, "error: %s", yes ? "true" : "false");
    return NULL;
}

static const char *http_status_condition(const struct condition *condition, struct weir_buffer *out) {
    double code;
    if (condition->text == NULL || !weir_value_number(condition->text, &code) || code < 0 || code > 999 ||
        code != (double)(int)code)
        return "its value is no status code";
    weir_buffer_printf(out, "http_status: \"%s%.0f\"", condition->op == EQ ? "" : operators[condition->op], code);
    return NULL;
}

static void open_attribute(struct weir_buffer *out, const char *field) {
    weir_buffer_text(out, "attribute: { key: ");
    weir_import_quote(out, field);
    weir_buffer_text(out, ", ");
}

static void put_matches(struct weir_buffer *out, const char *field, const char *text, bool literal) {
    struct weir_buffer pattern = {0};
    if (literal) weir_import_escape(&pattern, text);
    if (!literal) weir_buffer_text(&pattern, text);
    weir_buffer_byte(&pattern, 0);
    open_attribute(out, field);
    weir_buffer_text(out, "matches: ");
    if (!pattern.failed) weir_import_quote(out, (const char *)pattern.bytes);
    weir_buffer_text(out, " }");
    weir_buffer_free(&pattern);
}

/* `equals` takes a star at the end for "begins with". */
static bool ends_in_star(const struct weir_yaml *value) {
    const struct weir_yaml *one = value->kind == WEIR_YAML_LIST ? value->first : value;
    for (; one != NULL; one = value->kind == WEIR_YAML_LIST ? one->next : NULL) {
        size_t size = one->kind == WEIR_YAML_TEXT ? strlen(one->text) : 0;
        if (size > 0 && one->text[size - 1] == '*') return true;
    }
    return false;
}

static const char *attribute_condition(const char *field, const struct condition *condition, struct weir_buffer *out) {
    double number;
    switch (condition->op) {
    case EXISTS:
    case MISSING:
        open_attribute(out, field);
        weir_buffer_printf(out, "exists: %s }", condition->op == EXISTS ? "true" : "false");
        return NULL;
    case GT:
    case GE:
    case LT:
    case LE:
        if (condition->text == NULL || !weir_value_number(condition->text, &number) ||
            strcmp(condition->datatype, "string") == 0)
            return "an order of texts; Weir compares numbers";
        open_attribute(out, field);
        weir_buffer_printf(out, "range: \"%s", operators[condition->op]);
        weir_import_print(out, number);
        weir_buffer_text(out, "\" }");
        return NULL;
    case STARTS:
        if (condition->text == NULL || *condition->text == 0) return "it has no value";
        open_attribute(out, field);
        struct weir_buffer text = {0};
        weir_buffer_printf(&text, "%s*", condition->text);
        weir_buffer_text(out, "equals: ");
        if (!text.failed) weir_import_quote(out, (const char *)text.bytes);
        weir_buffer_text(out, " }");
        weir_buffer_free(&text);
        return NULL;
    case CONTAINS:
    case LACKS:
    case MATCHES:
        if (condition->text == NULL || *condition->text == 0) return "it has no value";
        if (condition->op == LACKS) weir_buffer_text(out, "not: { ");
        put_matches(out, field, condition->text, condition->op != MATCHES);
        if (condition->op == LACKS) weir_buffer_text(out, " }");
        return NULL;
    default: break;
    }
    if (condition->value == NULL || (condition->value->kind == WEIR_YAML_LIST && condition->value->count == 0))
        return "it has no value";
    if (ends_in_star(condition->value)) return "a value ends in *, which Weir reads as \"begins with\"; use matches:";
    bool negative = condition->op == NE || condition->op == NOT_IN;
    /* Without a Datatype, != holds only of spans that have the field; the others hold of those without it too. */
    bool has = condition->op == NE && strcmp(condition->datatype, "string") != 0;
    if (has) weir_buffer_text(out, "all: [{ ");
    if (has) open_attribute(out, field);
    if (has) weir_buffer_text(out, "exists: true } }, { ");
    if (negative) weir_buffer_text(out, "not: { ");
    open_attribute(out, field);
    weir_buffer_text(out, "equals: ");
    weir_import_quote_list(out, condition->value);
    weir_buffer_text(out, " }");
    if (negative) weir_buffer_text(out, " }");
    if (has) weir_buffer_text(out, " }]");
    return NULL;
}

static const char *field_condition(const char *field, const struct condition *condition, struct weir_buffer *out) {
    enum op op = condition->op;
    bool set = op == EQ || op == NE || op == IN || op == NOT_IN || op == STARTS;
    if (IS(field, "service.name", "service_name")) {
        if (set) return name_condition("service", condition, out);
        return attribute_condition("service.name", condition, out);
    }
    if (IS(field, "name")) return name_condition("operation", condition, out);
    if (IS(field, "span.kind") && set && op != STARTS) return name_condition("kind", condition, out);
    if (IS(field, "duration_ms")) return duration_condition(condition, out);
    if (IS(field, "error")) return error_condition(condition, false, out);
    if (IS(field, "status_code") && condition->text != NULL && strlen(condition->text) == 1 &&
        strchr("012", *condition->text) != NULL)
        return error_condition(condition, true, out);
    if (IS(field, "http.status_code", "http.response.status_code") && (op == EQ || is_order(op)))
        return http_status_condition(condition, out);
    if (strncmp(field, "meta.", 5) == 0) return "a field that only Refinery writes";
    return attribute_condition(field, condition, out);
}

static const char *trace_condition(const char *field, const struct condition *condition, struct weir_buffer *out) {
    double number;
    if (strcmp(field, "?.NUM_DESCENDANTS") != 0) return "a computed field that is not known";
    if ((!is_order(condition->op) && condition->op != EQ) || condition->text == NULL ||
        !weir_value_number(condition->text, &number) || number < 0)
        return "only =, >, >=, < and <= a number can be said of it";
    weir_buffer_printf(out, "spans: \"%s%.0f\"", condition->op == EQ ? "" : operators[condition->op], number);
    return NULL;
}

/* A root is a span without parent. In one span's conditions it cannot be asked, but `root:` asks it of all. */
static const char *parent_condition(const struct condition *condition, struct weir_buffer *out,
                                    enum weir_import_of *of) {
    if (condition->op != MISSING) return "only not-exists can be said of it: the span is the root";
    *of = WEIR_IMPORT_OF_ROOT;
    weir_buffer_text(out, "duration: \">=0ns\""); /* holds of every root */
    return NULL;
}

static bool all_http_status(const struct weir_yaml *fields) {
    for (const struct weir_yaml *one = fields->first; one != NULL; one = one->next) {
        if (one->kind != WEIR_YAML_TEXT || !IS(one->text, "http.status_code", "http.response.status_code"))
            return false;
    }
    return true;
}

const char *weir_import_condition(const struct weir_yaml *node, bool one_span, struct weir_buffer *out,
                                  enum weir_import_of *of) {
    struct condition condition = {.op = OPERATORS, .value = weir_yaml_get(node, "Value")};
    const char *name = node->kind == WEIR_YAML_MAP ? weir_import_text(node, "Operator") : NULL;
    const struct weir_yaml *field = weir_yaml_get(node, "Field"), *fields = weir_yaml_get(node, "Fields");
    *of = WEIR_IMPORT_OF_SPAN;
    for (int i = 0; name != NULL && i < OPERATORS; i++) {
        if (strcasecmp(operators[i], name) == 0) condition.op = (enum op)i;
    }
    if (condition.op == OPERATORS) return "an operator that is not known";
    condition.text = weir_import_text(node, "Value");
    condition.datatype = weir_import_text(node, "Datatype");
    if (condition.datatype == NULL) condition.datatype = "";
    if (condition.op == HAS_ROOT) {
        bool has = false;
        if (one_span) return "it never holds in Scope span";
        if (condition.text != NULL) weir_value_bool(condition.text, &has);
        *of = WEIR_IMPORT_OF_TRACE;
        weir_buffer_text(out, has ? "root: { duration: \">=0ns\" }" : "not: { root: { duration: \">=0ns\" } }");
        return NULL;
    }
    if (field == NULL) field = fields;
    const struct weir_yaml *one = field != NULL && field->kind == WEIR_YAML_LIST ? field->first : field;
    if (one == NULL || one->kind != WEIR_YAML_TEXT) return "it names no field";
    uint32_t count = field->kind == WEIR_YAML_LIST ? field->count : 1, roots = 0;
    bool negative = condition.op == MISSING || condition.op == LACKS || condition.op == NOT_IN || condition.op == NE;
    if (count > 1 && (condition.op == EQ || is_order(condition.op)) && all_http_status(field)) { /* one thing here */
        count = 1;
        field = one;
    }
    if (count > 1) weir_buffer_printf(out, "%s: [", negative ? "all" : "any");
    for (uint32_t i = 0; one != NULL; one = field->kind == WEIR_YAML_LIST ? one->next : NULL, i++) {
        if (one->kind != WEIR_YAML_TEXT) return "a field's name is no text";
        const char *text = one->text;
        bool root = strncmp(text, "root.", 5) == 0;
        roots += root;
        if (count > 1) weir_buffer_text(out, i == 0 ? "{ " : ", { ");
        if (root) text += 5;
        const char *why;
        if (strncmp(text, "?.", 2) == 0 || IS(text, "trace.parent_id", "parent_id")) {
            if (count > 1) return "one of several fields; it needs a condition of its own";
            if (*text != '?')
                return one_span ? "in Scope span it cannot be said" : parent_condition(&condition, out, of);
            *of = WEIR_IMPORT_OF_TRACE;
            return trace_condition(text, &condition, out);
        }
        why = field_condition(text, &condition, out);
        if (why != NULL) return why;
        if (count > 1) weir_buffer_text(out, " }");
    }
    if (count > 1) weir_buffer_byte(out, ']');
    if (roots != 0 && roots != count) return "some of its fields are the root's and some any span's";
    if (roots != 0) *of = WEIR_IMPORT_OF_ROOT;
    return NULL;
}
