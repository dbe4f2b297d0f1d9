#include "collector/cli/import/ottl.h"
#include "collector/config/values.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { NESTED_MAX = 32, TEXT_MAX = 1024 };

struct ottl {
    const char *at;
    const char *why;
    int nested; /* in parentheses or behind `not` */
    bool root;
};

enum path { ATTRIBUTE, SERVICE, NAME, KIND, STATUS };
struct operand {
    enum path path;
    char key[TEXT_MAX]; /* of ATTRIBUTE */
};
enum literal_kind { TEXT, NUMBER, TRUTH, NIL, SYMBOL };
struct literal {
    enum literal_kind kind;
    char text[TEXT_MAX];
};

static bool refuse(struct ottl *ottl, const char *why) {
    if (ottl->why == NULL) ottl->why = why;
    return false;
}

/* ---- words ---- */

static void skip(struct ottl *ottl) {
    ottl->at += strspn(ottl->at, " \t\r\n");
}

static bool accept(struct ottl *ottl, const char *mark) {
    skip(ottl);
    size_t size = strlen(mark);
    if (strncmp(ottl->at, mark, size) != 0) return false;
    bool word = isalpha((unsigned char)mark[size - 1]) != 0;
    if (word && (isalnum((unsigned char)ottl->at[size]) || ottl->at[size] == '_')) return false;
    ottl->at += size;
    return true;
}

/* "..." with \" and the escapes of Go that are likely */
static bool read_string(struct ottl *ottl, char *out) {
    skip(ottl);
    if (*ottl->at != '"') return refuse(ottl, "a text in quotes is needed");
    size_t size = 0;
    for (ottl->at++; *ottl->at != '"'; ottl->at++) {
        char c = *ottl->at;
        if (c == 0) return refuse(ottl, "a text does not end");
        if (c == '\\') {
            c = *++ottl->at;
            if (c == 'n') c = '\n';
            if (c == 't') c = '\t';
            if (c == 0 || strchr("\\\"\n\t/", c) == NULL) return refuse(ottl, "an escape in a text that is not known");
        }
        if (size + 1 >= TEXT_MAX) return refuse(ottl, "a text is too long");
        out[size++] = c;
    }
    ottl->at++;
    out[size] = 0;
    return true;
}

static bool read_path(struct ottl *ottl, struct operand *operand) {
    bool resource = accept(ottl, "resource.");
    if (!resource) accept(ottl, "span.");
    if (accept(ottl, "attributes")) {
        operand->path = ATTRIBUTE;
        if (!accept(ottl, "[") || !read_string(ottl, operand->key) || !accept(ottl, "]"))
            return refuse(ottl, "attributes[\"key\"] is needed");
        if (accept(ottl, "[")) return refuse(ottl, "an attribute within an attribute");
        if (resource && strcmp(operand->key, "service.name") == 0) operand->path = SERVICE;
        return true;
    }
    if (!resource && accept(ottl, "name")) {
        operand->path = NAME;
    } else if (!resource && accept(ottl, "kind")) {
        operand->path = KIND;
        if (*ottl->at == '.') return refuse(ottl, "kind.string and the like");
    } else if (!resource && accept(ottl, "status.code")) {
        operand->path = STATUS;
    } else {
        return refuse(ottl, "only attributes, name, kind, status.code, IsMatch() and IsRootSpan() are translated");
    }
    return true;
}

static bool read_literal(struct ottl *ottl, struct literal *literal) {
    skip(ottl);
    if (*ottl->at == '"') {
        literal->kind = TEXT;
        return read_string(ottl, literal->text);
    }
    size_t size = 0;
    while (isalnum((unsigned char)ottl->at[size]) || (ottl->at[size] != 0 && strchr("_.-+", ottl->at[size]) != NULL))
        size++;
    if (size == 0 || size >= TEXT_MAX) return refuse(ottl, "a value is needed");
    snprintf(literal->text, sizeof literal->text, "%.*s", (int)size, ottl->at);
    ottl->at += size;
    double number;
    literal->kind = strcmp(literal->text, "nil") == 0                                           ? NIL
                    : strcmp(literal->text, "true") == 0 || strcmp(literal->text, "false") == 0 ? TRUTH
                    : weir_value_number(literal->text, &number)                                 ? NUMBER
                                                                                                : SYMBOL;
    return true;
}

/* ---- comparisons ---- */

static void open_attribute(struct weir_buffer *out, const char *key) {
    weir_buffer_text(out, "attribute: { key: ");
    weir_import_quote(out, key);
    weir_buffer_text(out, ", ");
}

static bool compare_attribute(struct ottl *ottl, const char *key, const char *op, const struct literal *literal,
                              struct weir_buffer *out) {
    bool equal = strcmp(op, "==") == 0, differs = strcmp(op, "!=") == 0;
    size_t size = strlen(literal->text);
    if (literal->kind == SYMBOL) return refuse(ottl, "an attribute is compared with a name that is not known");
    if (literal->kind == NIL) {
        if (!equal && !differs) return refuse(ottl, "an order with nil");
        open_attribute(out, key);
        weir_buffer_printf(out, "exists: %s }", equal ? "false" : "true");
        return true;
    }
    if (!equal && !differs) {
        if (literal->kind != NUMBER) return refuse(ottl, "an order of texts; Weir compares numbers");
        open_attribute(out, key);
        weir_buffer_printf(out, "range: \"%s%s\" }", op, literal->text);
        return true;
    }
    if (differs) weir_buffer_text(out, "not: { "); /* also where there is none, as there */
    open_attribute(out, key);
    if (literal->kind == TEXT && (size == 0 || literal->text[size - 1] == '*')) { /* equals: "a*" begins with */
        struct weir_buffer pattern = {0};
        weir_buffer_text(&pattern, "\\A");
        weir_import_escape(&pattern, literal->text);
        weir_buffer_put(&pattern, "\\z", 3);
        weir_buffer_text(out, "matches: ");
        if (!pattern.failed) weir_import_quote(out, (const char *)pattern.bytes);
        weir_buffer_free(&pattern);
    } else {
        weir_buffer_text(out, "equals: ");
        weir_import_quote(out, literal->text);
    }
    weir_buffer_text(out, differs ? " } }" : " }");
    return true;
}

static bool compare_name(struct ottl *ottl, const struct operand *operand, const struct literal *literal, bool differs,
                         struct weir_buffer *out) {
    size_t size = strlen(literal->text);
    if (literal->kind != TEXT || size == 0) return refuse(ottl, "a name is compared with no text");
    if (literal->text[size - 1] == '*') return refuse(ottl, "a name that ends in *, which here is \"begins with\"");
    weir_buffer_printf(out, "%s%s: ", differs ? "not: { " : "", operand->path == NAME ? "operation" : "service");
    weir_import_quote(out, literal->text);
    if (differs) weir_buffer_text(out, " }");
    return true;
}

static bool compare_kind(struct ottl *ottl, const struct literal *literal, bool differs, struct weir_buffer *out) {
    static const char *const kinds[] = {"unspecified", "internal", "server", "client", "producer", "consumer"};
    static const char *const symbols[] = {"SPAN_KIND_UNSPECIFIED", "SPAN_KIND_INTERNAL", "SPAN_KIND_SERVER",
                                          "SPAN_KIND_CLIENT",      "SPAN_KIND_PRODUCER", "SPAN_KIND_CONSUMER"};
    for (size_t i = 0; i < 6; i++) {
        char digit[2] = {(char)('0' + i), 0};
        if (literal->kind == TEXT || (strcmp(literal->text, symbols[i]) != 0 && strcmp(literal->text, digit) != 0))
            continue;
        weir_buffer_printf(out, differs ? "not: { kind: %s }" : "kind: %s", kinds[i]);
        return true;
    }
    return refuse(ottl, "a kind that is not known");
}

static bool compare_status(struct ottl *ottl, const struct literal *literal, bool differs, struct weir_buffer *out) {
    bool error = strcmp(literal->text, "STATUS_CODE_ERROR") == 0 || strcmp(literal->text, "2") == 0;
    if (literal->kind == TEXT || !error)
        return refuse(ottl, "a status other than ERROR; Weir knows errors and the rest");
    weir_buffer_printf(out, "error: %s", differs ? "false" : "true");
    return true;
}

static bool comparison(struct ottl *ottl, struct weir_buffer *out) {
    static const char *const ops[] = {"==", "!=", "<=", ">=", "<", ">"};
    struct operand operand;
    struct literal literal;
    const char *op = NULL;
    if (!read_path(ottl, &operand)) return false;
    for (size_t i = 0; op == NULL && i < 6; i++) {
        if (accept(ottl, ops[i])) op = ops[i];
    }
    if (op == NULL) return refuse(ottl, "a comparison is needed");
    if (!read_literal(ottl, &literal)) return false;
    if (operand.path == ATTRIBUTE) return compare_attribute(ottl, operand.key, op, &literal, out);
    if (op[1] != '=' || op[0] == '<' || op[0] == '>') return refuse(ottl, "only == and != can be said of it");
    bool differs = op[0] == '!';
    switch (operand.path) {
    case KIND: return compare_kind(ottl, &literal, differs, out);
    case STATUS: return compare_status(ottl, &literal, differs, out);
    default: return compare_name(ottl, &operand, &literal, differs, out);
    }
}

static bool is_match(struct ottl *ottl, struct weir_buffer *out) {
    struct operand operand;
    char pattern[TEXT_MAX];
    if (!accept(ottl, "(") || !read_path(ottl, &operand) || !accept(ottl, ",") || !read_string(ottl, pattern) ||
        !accept(ottl, ")"))
        return refuse(ottl, "IsMatch(attributes[\"key\"], \"pattern\") is needed");
    if (operand.path != ATTRIBUTE && operand.path != SERVICE) return refuse(ottl, "IsMatch() of what is no attribute");
    open_attribute(out, operand.path == SERVICE ? "service.name" : operand.key);
    weir_buffer_text(out, "matches: ");
    weir_import_quote(out, pattern);
    weir_buffer_text(out, " }");
    return true;
}

/* ---- and, or, not ---- */

static bool either(struct ottl *ottl, struct weir_buffer *out);

// NOLINTNEXTLINE(misc-no-recursion): bounded by NESTED_MAX
static bool term(struct ottl *ottl, struct weir_buffer *out) {
    bool read;
    if (ottl->nested > NESTED_MAX) return refuse(ottl, "too deep");
    if (accept(ottl, "not")) {
        ottl->nested++;
        weir_buffer_text(out, "not: { ");
        read = term(ottl, out);
        weir_buffer_text(out, " }");
        ottl->nested--;
        return read;
    }
    if (accept(ottl, "(")) {
        ottl->nested++;
        read = either(ottl, out);
        ottl->nested--;
        return read && (accept(ottl, ")") || refuse(ottl, "a ) is missing"));
    }
    if (accept(ottl, "IsRootSpan")) {
        if (!accept(ottl, "(") || !accept(ottl, ")")) return refuse(ottl, "IsRootSpan() is needed");
        if (ottl->nested > 0) return refuse(ottl, "IsRootSpan() within not or ( )");
        ottl->root = true;
        return true;
    }
    if (accept(ottl, "IsMatch")) return is_match(ottl, out);
    return comparison(ottl, out);
}

/* Terms between `and`s, or those between `or`s. */
// NOLINTNEXTLINE(misc-no-recursion)
static bool row(struct ottl *ottl, struct weir_buffer *out, bool any) {
    struct weir_buffer items = {0};
    uint32_t count = 0, all = 0;
    bool read;
    do {
        struct weir_buffer item = {0};
        read = any ? row(ottl, &item, false) : term(ottl, &item);
        all++;
        if (read && item.size > 0) {
            weir_buffer_put(&items, item.bytes, item.size);
            weir_buffer_byte(&items, '\n');
            count++;
        }
        items.failed = items.failed || item.failed;
        weir_buffer_free(&item);
    } while (read && accept(ottl, any ? "or" : "and"));
    if (read && any && all > 1 && ottl->root) read = refuse(ottl, "IsRootSpan() beside or");
    weir_buffer_byte(&items, 0);
    if (read && !items.failed && any && count > 1) {
        weir_buffer_text(out, "any: [");
        bool first = true;
        for (char *at = (char *)items.bytes, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
            weir_buffer_printf(out, "%s{ %.*s }", first ? "" : ", ", (int)(end - at), at);
            first = false;
        }
        weir_buffer_byte(out, ']');
    } else if (read && !items.failed) {
        weir_import_all(out, (const char *)items.bytes, count);
    }
    out->failed = out->failed || items.failed;
    weir_buffer_free(&items);
    return read;
}

// NOLINTNEXTLINE(misc-no-recursion)
static bool either(struct ottl *ottl, struct weir_buffer *out) {
    return row(ottl, out, true);
}

const char *weir_import_ottl(const char *text, struct weir_buffer *out, bool *root) {
    struct ottl ottl = {.at = text};
    bool read = either(&ottl, out);
    skip(&ottl);
    if (read && *ottl.at != 0) read = refuse(&ottl, "something is behind its end");
    *root = ottl.root;
    return read ? NULL : ottl.why;
}
