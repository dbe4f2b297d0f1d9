#include "collector/cli/text.h"
#include "collector/core/clock.h"
#include "collector/core/hex.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { REPLACEMENT = 0xfffd, MARKS_MAX = 2 /* on one letter: more is no writing, it paints over other lines */ };

struct range {
    uint32_t first, last;
};

/* What moves, hides or turns text round: C0, DEL, C1, zero width, bidirectional (UAX 9), separators, tags,
 * non-characters at the end of the first plane. */
static const struct range harmful[] = {
    {0x00, 0x1f},     {0x7f, 0x9f},       {0xad, 0xad},        {0x61c, 0x61c},   {0x180e, 0x180e},
    {0x200b, 0x200f}, {0x2028, 0x202e},   {0x2060, 0x206f},    {0xfeff, 0xfeff}, {0xfff0, 0xfffb},
    {0xfffe, 0xffff}, {0xe0000, 0xe0fff}, {0xf0000, 0x10ffff},
};
/* Non-spacing marks that names really have; others would be drawn as one column. */
static const struct range marks[] = {
    {0x300, 0x36f},   {0x483, 0x489},   {0x591, 0x5bd},   {0x610, 0x61a},   {0x64b, 0x65f},   {0x6d6, 0x6dc},
    {0x93c, 0x93c},   {0x941, 0x948},   {0x94d, 0x94d},   {0xe31, 0xe31},   {0xe34, 0xe3a},   {0xe47, 0xe4e},
    {0x1ab0, 0x1aff}, {0x1dc0, 0x1dff}, {0x20d0, 0x20ff}, {0x3099, 0x309a}, {0xfe00, 0xfe0f}, {0xfe20, 0xfe2f},
};
static const struct range wide[] = {
    {0x1100, 0x115f},   {0x231a, 0x231b},   {0x2329, 0x232a},   {0x23e9, 0x23ec},   {0x25fd, 0x25fe},
    {0x2614, 0x2615},   {0x2648, 0x2653},   {0x26a1, 0x26a1},   {0x26d4, 0x26d4},   {0x2705, 0x2705},
    {0x274c, 0x274c},   {0x2753, 0x2755},   {0x2795, 0x2797},   {0x2b50, 0x2b50},   {0x2e80, 0x303e},
    {0x3041, 0x33ff},   {0x3400, 0x4dbf},   {0x4e00, 0x9fff},   {0xa000, 0xa4cf},   {0xa960, 0xa97f},
    {0xac00, 0xd7a3},   {0xf900, 0xfaff},   {0xfe30, 0xfe6f},   {0xff00, 0xff60},   {0xffe0, 0xffe6},
    {0x16fe0, 0x18cff}, {0x1b000, 0x1b2ff}, {0x1f004, 0x1f004}, {0x1f18e, 0x1f18e}, {0x1f191, 0x1f19a},
    {0x1f200, 0x1f320}, {0x1f32d, 0x1f64f}, {0x1f680, 0x1f6ff}, {0x1f7e0, 0x1f7eb}, {0x1f900, 0x1faff},
    {0x20000, 0x3fffd},
};

static bool is_in(const struct range *ranges, size_t count, uint32_t c) {
    for (size_t i = 0; i < count && c >= ranges[i].first; i++) {
        if (c <= ranges[i].last) return true;
    }
    return false;
}
#define IS_IN(ranges, c) is_in(ranges, sizeof(ranges) / sizeof((ranges)[0]), c)

/* The next character; REPLACEMENT for a byte that begins none (Unicode 15, table 3-7). Never passes the NUL. */
static uint32_t next(const unsigned char **at) {
    const unsigned char *s = *at;
    uint32_t c = REPLACEMENT;
    unsigned size = 1;
    if (s[0] < 0x80) {
        c = s[0];
    } else if (s[0] >= 0xc2 && s[0] <= 0xdf && (s[1] & 0xc0) == 0x80) {
        c = (s[0] & 0x1fu) << 6 | (s[1] & 0x3fu);
        size = 2;
    } else if ((s[0] & 0xf0) == 0xe0 && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80) {
        uint32_t read = (s[0] & 0x0fu) << 12 | (s[1] & 0x3fu) << 6 | (s[2] & 0x3fu);
        if (read >= 0x800 && (read < 0xd800 || read > 0xdfff)) {
            c = read;
            size = 3;
        }
    } else if ((s[0] & 0xf8) == 0xf0 && (s[1] & 0xc0) == 0x80 && (s[2] & 0xc0) == 0x80 && (s[3] & 0xc0) == 0x80) {
        uint32_t read = (s[0] & 0x07u) << 18 | (s[1] & 0x3fu) << 12 | (s[2] & 0x3fu) << 6 | (s[3] & 0x3fu);
        if (read >= 0x10000 && read <= 0x10ffff) {
            c = read;
            size = 4;
        }
    }
    *at += size;
    return c;
}

static void put(struct weir_buffer *out, uint32_t c) {
    if (c < 0x80) {
        weir_buffer_byte(out, (uint8_t)c);
    } else if (c < 0x800) {
        weir_buffer_byte(out, (uint8_t)(0xc0 | c >> 6));
        weir_buffer_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    } else {
        if (c < 0x10000) {
            weir_buffer_byte(out, (uint8_t)(0xe0 | c >> 12));
        } else {
            weir_buffer_byte(out, (uint8_t)(0xf0 | c >> 18));
            weir_buffer_byte(out, (uint8_t)(0x80 | (c >> 12 & 0x3f)));
        }
        weir_buffer_byte(out, (uint8_t)(0x80 | (c >> 6 & 0x3f)));
        weir_buffer_byte(out, (uint8_t)(0x80 | (c & 0x3f)));
    }
}

/* What is shown in the place of the next character, and its columns. *marked counts the marks on one letter; one too
 * many is left out: width 0 and character 0. */
static uint32_t shown(const unsigned char **at, bool unicode, unsigned *marked, uint32_t *columns) {
    uint32_t c = next(at);
    *columns = 1;
    bool is_mark = c >= 0x300 && IS_IN(marks, c);
    *marked = is_mark ? *marked + 1 : 0;
    if (is_mark) {
        *columns = 0;
        return unicode && *marked <= MARKS_MAX ? c : 0;
    }
    if (IS_IN(harmful, c)) c = REPLACEMENT;
    if (!unicode) return c < 0x80 ? c : '?';
    if (c >= 0x1100 && IS_IN(wide, c)) *columns = 2;
    return c;
}

uint32_t weir_text_columns(const char *text, bool unicode) {
    const unsigned char *at = (const unsigned char *)text;
    uint32_t all = 0, columns;
    unsigned marked = MARKS_MAX; /* a mark with no letter before it would stand on what is left of the text */
    while (*at != 0) {
        shown(&at, unicode, &marked, &columns);
        all += columns;
    }
    return all;
}

uint32_t weir_text_put(struct weir_buffer *out, const char *text, uint32_t columns, bool unicode) {
    const unsigned char *at = (const unsigned char *)text;
    uint32_t ellipsis = 0, used = 0;
    if (weir_text_columns(text, unicode) > columns) ellipsis = unicode || columns < 2 ? 1 : 2;
    if (ellipsis > columns) ellipsis = columns;
    unsigned marked = MARKS_MAX;
    while (*at != 0) {
        uint32_t width, c = shown(&at, unicode, &marked, &width);
        if (used + width > columns - ellipsis) break;
        if (c != 0) put(out, c);
        used += width;
    }
    if (ellipsis == 0) return used;
    weir_buffer_text(out, unicode ? "\u2026" : ellipsis == 2 ? ".." : ".");
    return used + ellipsis;
}

void weir_text_spaces(struct weir_buffer *out, uint32_t count) {
    while (count-- > 0)
        weir_buffer_byte(out, ' ');
}

void weir_text_duration(uint64_t ns, bool unicode, char out[WEIR_TEXT_BYTES]) {
    static const struct {
        uint64_t unit;
        const char *name, *ascii;
    } units[] = {{1, "ns", "ns"}, {1000, "\u00b5s", "us"}, {1000000, "ms", "ms"}, {1000000000, "s", "s"}};
    uint64_t s = ns / 1000000000;
    if (ns == 0) {
        snprintf(out, WEIR_TEXT_BYTES, "0");
    } else if (s >= 1000 * 86400) {
        snprintf(out, WEIR_TEXT_BYTES, "%lluy", (unsigned long long)(s / (365 * 86400)));
    } else if (s >= 48 * 3600) {
        snprintf(out, WEIR_TEXT_BYTES, "%llud", (unsigned long long)(s / 86400));
    } else if (s >= 3600) {
        snprintf(out, WEIR_TEXT_BYTES, "%lluh%02llum", (unsigned long long)(s / 3600),
                 (unsigned long long)(s / 60 % 60));
    } else if (s >= 60) {
        snprintf(out, WEIR_TEXT_BYTES, "%llum%02llus", (unsigned long long)(s / 60), (unsigned long long)(s % 60));
    } else {
        unsigned i = 0;
        while (i < 3 && ns >= units[i + 1].unit)
            i++;
        double value = (double)ns / (double)units[i].unit;
        /* Three digits; what rounds up to 1000 is said in the next unit (999.9us is 1.00ms, 59.99s stays). */
        if (i < 3 && value >= 999.5) {
            value = 1;
            i++;
        }
        int digits = i == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : i == 3 ? 2 : 1;
        snprintf(out, WEIR_TEXT_BYTES, "%.*f%s", digits, value, unicode ? units[i].name : units[i].ascii);
    }
}

void weir_text_age(double seconds, char out[WEIR_TEXT_BYTES]) {
    double whole = floor(fmin(fmax(seconds, 0), 1e10));
    if (whole < 60)
        snprintf(out, WEIR_TEXT_BYTES, "%.0fs", whole);
    else
        weir_text_duration((uint64_t)whole * 1000000000, false, out);
}

void weir_text_count(uint64_t count, char out[WEIR_TEXT_BYTES]) {
    char digits[24];
    size_t size = (size_t)snprintf(digits, sizeof digits, "%llu", (unsigned long long)count), to = 0;
    for (size_t i = 0; i < size; i++) {
        if (i > 0 && (size - i) % 3 == 0) out[to++] = ',';
        out[to++] = digits[i];
    }
    out[to] = 0;
}

void weir_text_weight(double weight, char out[WEIR_TEXT_BYTES]) {
    if (!(weight < 1e15)) {
        snprintf(out, WEIR_TEXT_BYTES, "%.3g", weight);
    } else if (weight >= 99.5) {
        weir_text_count((uint64_t)llround(weight), out);
    } else {
        snprintf(out, WEIR_TEXT_BYTES, "%.3g", weight);
    }
}

void weir_text_trace_id(uint64_t trace_hi, uint64_t trace_lo, char out[WEIR_TEXT_ID_BYTES]) {
    char *low = trace_hi != 0 ? out + 16 : out;
    if (trace_hi != 0) weir_hex_u64(trace_hi, out);
    weir_hex_u64(trace_lo, low);
    low[16] = 0;
}

void weir_text_time(struct weir_buffer *out, uint64_t unix_ns) {
    char text[40];
    time_t seconds = (time_t)(unix_ns / WEIR_S);
    struct tm parts;
    if (gmtime_r(&seconds, &parts) == NULL) return;
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &parts);
    weir_buffer_text(out, text);
}

void weir_text_colour(struct weir_buffer *out, bool colour, const char *code) {
    if (colour) weir_buffer_printf(out, "\033[%sm", code);
}
