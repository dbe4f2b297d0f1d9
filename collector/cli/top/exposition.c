#include "collector/cli/top/exposition.h"
#include "collector/decode/number.h"

#include <math.h>
#include <string.h>

static bool is_name(uint8_t c, bool first) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':' || (!first && c >= '0' && c <= '9');
}

static void skip_blanks(uint8_t **at, const uint8_t *end) {
    while (*at < end && (**at == ' ' || **at == '\t'))
        ++*at;
}

static bool read_name(uint8_t **at, const uint8_t *end, struct weir_exposition_text *name) {
    uint8_t *start = *at;
    while (*at < end && is_name(**at, *at == start))
        ++*at;
    *name = (struct weir_exposition_text){start, (size_t)(*at - start)};
    return name->size > 0;
}

/* "...": \\ \" \n are escapes, any other backslash is itself. Meaning is never longer than what was written. */
static bool read_value(uint8_t **at, const uint8_t *end, struct weir_exposition_text *value) {
    if (*at == end || **at != '"') return false;
    uint8_t *from = *at + 1, *to = from;
    value->bytes = to;
    for (; from < end && *from != '"'; from++) {
        if (*from == '\\' && from + 1 < end && (from[1] == '\\' || from[1] == '"' || from[1] == 'n'))
            *to++ = *++from == 'n' ? '\n' : *from;
        else
            *to++ = *from;
    }
    if (from == end) return false;
    value->size = (size_t)(to - value->bytes);
    *at = from + 1;
    return true;
}

/* {key="value",...}, the last comma may be followed by nothing. */
static bool read_labels(uint8_t **at, const uint8_t *end, struct weir_exposition_sample *sample) {
    ++*at;
    for (;;) {
        skip_blanks(at, end);
        if (*at < end && **at == '}') break;
        if (sample->label_count == WEIR_EXPOSITION_LABELS) return false;
        if (!read_name(at, end, &sample->labels[sample->label_count].key)) return false;
        skip_blanks(at, end);
        if (*at == end || *(*at)++ != '=') return false;
        skip_blanks(at, end);
        if (!read_value(at, end, &sample->labels[sample->label_count].value)) return false;
        sample->label_count++;
        skip_blanks(at, end);
        if (*at < end && **at == ',') {
            ++*at;
        } else if (*at == end || **at != '}') {
            return false;
        }
    }
    ++*at;
    return true;
}

static bool is_word(const uint8_t *at, const uint8_t *end, const char *word) {
    size_t size = strlen(word);
    return (size_t)(end - at) == size && memcmp(at, word, size) == 0;
}

static bool read_number(const uint8_t *at, const uint8_t *end, double *value) {
    if (is_word(at, end, "NaN")) {
        *value = (double)NAN;
    } else if (is_word(at, end, "+Inf") || is_word(at, end, "Inf")) {
        *value = (double)INFINITY;
    } else if (is_word(at, end, "-Inf")) {
        *value = -(double)INFINITY;
    } else {
        return weir_number_read(at, end, value) == end;
    }
    return true;
}

bool weir_exposition_silent(const uint8_t *line, size_t size) {
    size_t at = 0;
    while (at < size && (line[at] == ' ' || line[at] == '\t' || line[at] == '\r'))
        at++;
    return at == size || line[at] == '#';
}

bool weir_exposition_line(uint8_t *line, size_t size, struct weir_exposition_sample *sample) {
    uint8_t *at = line, *end = line + size;
    while (end > line && (end[-1] == ' ' || end[-1] == '\t' || end[-1] == '\r'))
        end--;
    sample->label_count = 0;
    skip_blanks(&at, end);
    if (!read_name(&at, end, &sample->name)) return false;
    skip_blanks(&at, end);
    if (at < end && *at == '{' && !read_labels(&at, end, sample)) return false;
    skip_blanks(&at, end);
    const uint8_t *number = at;
    while (at < end && *at != ' ' && *at != '\t')
        at++;
    if (number == at || !read_number(number, at, &sample->value)) return false;
    skip_blanks(&at, end);
    double timestamp;
    return at == end || weir_number_read(at, end, &timestamp) == end;
}

bool weir_exposition_is(struct weir_exposition_text text, const char *is) {
    size_t size = strlen(is);
    return text.size == size && (size == 0 || memcmp(text.bytes, is, size) == 0);
}

struct weir_exposition_text weir_exposition_label(const struct weir_exposition_sample *sample, const char *key) {
    for (uint32_t i = 0; i < sample->label_count; i++) {
        if (weir_exposition_is(sample->labels[i].key, key)) return sample->labels[i].value;
    }
    return (struct weir_exposition_text){(const uint8_t *)"", 0};
}

/* ---- the page ---- */

static void end_line(struct weir_exposition *page) {
    struct weir_exposition_sample sample;
    if (page->overlong) {
        page->skipped++;
    } else if (!weir_exposition_silent(page->line.bytes, page->line.size)) {
        if (weir_exposition_line(page->line.bytes, page->line.size, &sample)) {
            page->samples++;
            page->take(page->self, &sample);
        } else {
            page->skipped++;
        }
    }
    weir_buffer_clear(&page->line);
    page->overlong = false;
}

bool weir_exposition_feed(struct weir_exposition *page, const void *bytes, size_t size) {
    const uint8_t *at = bytes, *end = at + size;
    page->page_bytes += size;
    if (page->page_bytes > WEIR_EXPOSITION_PAGE_BYTES) return false;
    while (at < end) {
        const uint8_t *stop = memchr(at, '\n', (size_t)(end - at));
        size_t part = (size_t)((stop != NULL ? stop : end) - at);
        if (page->line.size + part > WEIR_EXPOSITION_LINE_BYTES) page->overlong = true;
        if (!page->overlong) weir_buffer_put(&page->line, at, part);
        if (page->line.failed) return false;
        if (stop == NULL) break;
        end_line(page);
        at = stop + 1;
    }
    return true;
}

bool weir_exposition_end(struct weir_exposition *page) {
    if (page->line.size > 0 || page->overlong) end_line(page);
    return !page->line.failed;
}

void weir_exposition_free(struct weir_exposition *page) {
    weir_buffer_free(&page->line);
}
