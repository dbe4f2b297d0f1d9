#include "collector/core/openmetrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

struct text {
    const char *at;
    size_t size;
};

struct family {
    struct text name, type;
};

struct page {
    struct family *families; /* by name */
    size_t count;
};

static struct text line_of(const char *at, const char *end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    return (struct text){at, (size_t)((newline != NULL ? newline : end) - at)};
}

static struct text word_of(struct text *line) {
    const char *blank = memchr(line->at, ' ', line->size);
    struct text word = {line->at, blank != NULL ? (size_t)(blank - line->at) : line->size};
    size_t used = word.size + (blank != NULL);
    *line = (struct text){line->at + used, line->size - used};
    return word;
}

static bool is(struct text text, const char *what) {
    return text.size == strlen(what) && memcmp(text.at, what, text.size) == 0;
}
static bool starts(struct text text, const char *what) {
    size_t size = strlen(what);
    return text.size >= size && memcmp(text.at, what, size) == 0;
}

static int compare(struct text a, struct text b) {
    int order = memcmp(a.at, b.at, a.size < b.size ? a.size : b.size);
    return order != 0 ? order : (a.size > b.size) - (a.size < b.size);
}
static int by_name(const void *a, const void *b) {
    return compare(((const struct family *)a)->name, ((const struct family *)b)->name);
}

/* All families of the page, so that clashes are seen before the first is written. */
static bool list_families(struct page *page, const char *at, const char *end) {
    size_t capacity = 0;
    for (const char *next; at < end; at = next) {
        struct text line = line_of(at, end);
        next = line.at + line.size + 1;
        if (!starts(line, "# TYPE ")) continue;
        line = (struct text){line.at + 7, line.size - 7};
        if (page->count == capacity) {
            capacity = 2 * capacity + 256;
            struct family *more = realloc(page->families, capacity * sizeof *more);
            if (more == NULL) return false;
            page->families = more;
        }
        page->families[page->count].name = word_of(&line);
        page->families[page->count++].type = line;
    }
    if (page->count > 0) qsort(page->families, page->count, sizeof *page->families, by_name);
    return true;
}

static bool has_family(const struct page *page, const char *name, size_t size) {
    struct family key = {.name = {name, size}};
    return page->count > 0 && bsearch(&key, page->families, page->count, sizeof key, by_name) != NULL;
}

/* The name of the family of a counter; the whole one where the short one is taken. */
static struct text counter_family(const struct page *page, struct text name) {
    static const char *const reserved[] = {"", "_created"};
    if (name.size <= 6 || memcmp(name.at + name.size - 6, "_total", 6) != 0) return name;
    for (size_t i = 0; i < 2; i++) {
        char other[1024];
        int size = snprintf(other, sizeof other, "%.*s%s", (int)name.size - 6, name.at, reserved[i]);
        if (size < 0 || (size_t)size >= sizeof other || has_family(page, other, (size_t)size)) return name;
    }
    return (struct text){name.at, name.size - 6};
}

static void put_help(struct weir_buffer *out, struct text help) {
    for (size_t i = 0; i < help.size; i++) {
        if (help.at[i] == '"') weir_buffer_byte(out, '\\'); /* what else is to be escaped is, in 0.0.4 too */
        weir_buffer_byte(out, (uint8_t)help.at[i]);
    }
}

/* As Go prints a float64 (strconv 'g', -1), with ".0" behind a whole number: what parsers hold `le` against. */
static void put_canonical(struct weir_buffer *out, struct text number) {
    size_t whole = 0;
    while (whole < number.size && number.at[whole] >= '0' && number.at[whole] <= '9')
        whole++;
    bool plain = whole == number.size;
    if (plain && whole > 6) { /* 25000000 -> 2.5e+07 */
        size_t digits = whole;
        while (digits > 1 && number.at[digits - 1] == '0')
            digits--;
        weir_buffer_byte(out, (uint8_t)number.at[0]);
        if (digits > 1) weir_buffer_byte(out, '.');
        weir_buffer_put(out, number.at + 1, digits - 1);
        weir_buffer_printf(out, "e+%02zu", whole - 1);
        return;
    }
    weir_buffer_put(out, number.at, number.size);
    if (plain && whole > 0) weir_buffer_text(out, ".0");
}

/* `le` and `quantile` stand last, before "} " and the value; the exemplar's braces come behind. */
static void put_sample(struct weir_buffer *out, struct text line, const char *label) {
    size_t label_size = strlen(label);
    const char *close = NULL, *end = line.at + line.size;
    bool quoted = false;
    for (const char *at = line.at; at < end && close == NULL; at++) {
        if (*at == '\\' && quoted)
            at++;
        else if (*at == '"')
            quoted = !quoted;
        else if (*at == '}' && !quoted)
            close = at;
    }
    const char *value = close != NULL ? close - 1 : NULL; /* the closing quote */
    const char *open = value;
    while (open != NULL && open > line.at && open[-1] != '"')
        open--;
    if (open == NULL || open - line.at < (ptrdiff_t)label_size + 2 ||
        memcmp(open - label_size - 2, label, label_size) != 0 || open[-2] != '=') {
        weir_buffer_put(out, line.at, line.size);
        return;
    }
    weir_buffer_put(out, line.at, (size_t)(open - line.at));
    put_canonical(out, (struct text){open, (size_t)(value - open)});
    weir_buffer_put(out, value, (size_t)(end - value));
}

void weir_openmetrics_write(struct weir_buffer *out, const uint8_t *bytes, size_t size) {
    const char *at = (const char *)bytes, *end = at + size;
    struct page page = {0};
    struct text help = {"", 0};
    const char *label = NULL;
    if (!list_families(&page, at, end)) out->failed = true;
    for (const char *next; at < end; at = next) {
        struct text line = line_of(at, end);
        next = line.at + line.size + 1;
        if (starts(line, "# HELP ")) {
            help = (struct text){line.at + 7, line.size - 7};
            word_of(&help);
        } else if (starts(line, "# TYPE ")) {
            line = (struct text){line.at + 7, line.size - 7};
            struct text name = word_of(&line), family = name;
            bool counter = is(line, "counter");
            if (counter) family = counter_family(&page, name);
            if (counter && family.size == name.size) line = (struct text){"unknown", 7};
            label = is(line, "histogram") ? "le" : is(line, "summary") ? "quantile" : NULL;
            weir_buffer_printf(out, "# TYPE %.*s %.*s\n# HELP %.*s ", (int)family.size, family.at, (int)line.size,
                               line.at, (int)family.size, family.at);
            put_help(out, help);
            weir_buffer_byte(out, '\n');
            help = (struct text){"", 0};
        } else if (line.size > 0) {
            if (label != NULL)
                put_sample(out, line, label);
            else
                weir_buffer_put(out, line.at, line.size);
            weir_buffer_byte(out, '\n');
        }
    }
    free(page.families);
    weir_buffer_text(out, "# EOF\n");
}

/* ---- Accept ---- */

/* The q of one media range, 1 when it is not said. */
static double quality(struct text range) {
    for (size_t i = 0; i + 2 < range.size; i++) {
        if (range.at[i] != ';') continue;
        size_t at = i + 1;
        while (at < range.size && (range.at[at] == ' ' || range.at[at] == '\t'))
            at++;
        if (at + 1 < range.size && (range.at[at] == 'q' || range.at[at] == 'Q') && range.at[at + 1] == '=') {
            char text[16] = "";
            size_t size = range.size - at - 2 < sizeof text - 1 ? range.size - at - 2 : sizeof text - 1;
            memcpy(text, range.at + at + 2, size);
            return strtod(text, NULL);
        }
    }
    return 1;
}

static bool is_media(struct text range, const char *what) {
    size_t size = strlen(what);
    return range.size >= size && strncasecmp(range.at, what, size) == 0 &&
           (range.size == size || range.at[size] == ';' || range.at[size] == ' ');
}

bool weir_openmetrics_wanted(const char *accept) {
    double open = 0, plain = 0;
    for (const char *at = accept; at != NULL && *at != 0;) {
        const char *comma = strchr(at, ','), *end = comma != NULL ? comma : at + strlen(at);
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        struct text range = {at, (size_t)(end - at)};
        double q = quality(range);
        if (is_media(range, "application/openmetrics-text") && q > open) open = q;
        if ((is_media(range, "text/plain") || is_media(range, "text/*") || is_media(range, "*/*")) && q > plain)
            plain = q;
        at = comma != NULL ? comma + 1 : NULL;
    }
    return open > 0 && open >= plain;
}
