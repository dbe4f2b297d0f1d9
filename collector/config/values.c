#include "collector/config/values.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit byte_units[] = {
    {"", 1},      {"B", 1},     {"KiB", 1ull << 10}, {"MiB", 1ull << 20}, {"GiB", 1ull << 30},   {"TiB", 1ull << 40},
    {"kB", 1000}, {"KB", 1000}, {"MB", 1000000},     {"GB", 1000000000},  {"TB", 1000000000000},
};
static const struct unit time_units[] = {
    {"ns", 1}, {"us", 1000}, {"ms", 1000000}, {"s", 1000000000ull}, {"m", 60000000000ull}, {"h", 3600000000000ull},
};

/* Digits, perhaps a point and digits. A number without a point keeps all 64 bits; *end is behind it. */
static bool read_amount(const char *text, uint64_t *whole, double *fraction, const char **end) {
    const char *p = text;
    *whole = 0;
    *fraction = 0;
    if (!isdigit((unsigned char)*p)) return false;
    for (; isdigit((unsigned char)*p); p++) {
        uint64_t digit = (uint64_t)(*p - '0');
        if (*whole > (UINT64_MAX - digit) / 10) return false;
        *whole = *whole * 10 + digit;
    }
    if (*p == '.') {
        p++;
        if (!isdigit((unsigned char)*p)) return false;
        for (double place = 0.1; isdigit((unsigned char)*p); p++, place /= 10)
            *fraction += (*p - '0') * place;
    }
    *end = p;
    return true;
}

static bool scale(uint64_t whole, double fraction, uint64_t factor, uint64_t *out) {
    if (whole > (uint64_t)INT64_MAX / factor) return false; /* bounds are compared as signed 64 bits */
    uint64_t more = (uint64_t)llround(fraction * (double)factor);
    if (whole * factor > (uint64_t)INT64_MAX - more) return false;
    *out = whole * factor + more;
    return true;
}

static const struct unit *find_unit(const struct unit *units, size_t count, const char *name, size_t size) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0) return &units[i];
    }
    return NULL;
}

bool weir_value_bytes(const char *text, uint64_t *out) {
    uint64_t whole;
    double fraction;
    const char *end;
    if (!read_amount(text, &whole, &fraction, &end)) return false;
    while (*end == ' ')
        end++;
    const struct unit *unit = find_unit(byte_units, sizeof byte_units / sizeof *byte_units, end, strlen(end));
    if (unit == NULL || (unit->factor == 1 && fraction != 0)) return false;
    return scale(whole, fraction, unit->factor, out);
}

bool weir_value_duration(const char *text, uint64_t *out_ns) {
    uint64_t sum = 0;
    if (*text == 0) return false;
    while (*text != 0) {
        uint64_t whole, part;
        double fraction;
        const char *end;
        if (!read_amount(text, &whole, &fraction, &end)) return false;
        size_t size = 0;
        while (isalpha((unsigned char)end[size]))
            size++;
        const struct unit *unit = find_unit(time_units, sizeof time_units / sizeof *time_units, end, size);
        if (unit == NULL || !scale(whole, fraction, unit->factor, &part)) return false;
        if (part > (uint64_t)INT64_MAX - sum) return false;
        sum += part;
        text = end + size;
    }
    *out_ns = sum;
    return true;
}

bool weir_value_integer(const char *text, int64_t *out) {
    bool negative = *text == '-';
    const char *p = text + negative;
    int64_t value = 0;
    if (!isdigit((unsigned char)*p)) return false;
    for (; *p != 0; p++) {
        if (*p == '_' && isdigit((unsigned char)p[1])) continue;
        if (!isdigit((unsigned char)*p)) return false;
        if (value > (INT64_MAX - (*p - '0')) / 10) return false;
        value = value * 10 + (*p - '0');
    }
    *out = negative ? -value : value;
    return true;
}

bool weir_value_number(const char *text, double *out) {
    /* strtod alone also takes hex, inf, nan and leading blanks. */
    if (*text == 0 || text[strspn(text, "0123456789.eE+-")] != 0) return false;
    char *end;
    double value = strtod(text, &end);
    if (end == text || *end != 0 || !isfinite(value)) return false;
    *out = value;
    return true;
}

bool weir_value_ratio(const char *text, double *out) {
    char number[64];
    size_t size = strlen(text);
    bool percent = size > 0 && text[size - 1] == '%';
    if (size >= sizeof number) return false;
    memcpy(number, text, size + 1);
    if (percent) number[size - 1] = 0;
    double value;
    if (!weir_value_number(number, &value)) return false;
    if (percent) value /= 100;
    if (!(value >= 0 && value <= 1)) return false;
    *out = value == 0 ? 0 : value; /* -0 reads as 0 */
    return true;
}

bool weir_value_bool(const char *text, bool *out) {
    bool yes = strcmp(text, "true") == 0;
    if (!yes && strcmp(text, "false") != 0) return false;
    *out = yes;
    return true;
}

bool weir_value_host(const char *text) {
    size_t size = strlen(text);
    if (size == 0 || size >= sizeof(((struct weir_listen *)0)->host)) return false;
    bool v6 = strchr(text, ':') != NULL;
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)text[i];
        if (v6 ? !(isxdigit(c) || c == ':' || c == '.' || strchr(text, '%') != NULL)
               : !(isalnum(c) || c == '.' || c == '-' || c == '_')) {
            return false;
        }
        if (c < 0x21 || c > 0x7e || c == '[' || c == ']') return false;
    }
    return true;
}

bool weir_value_listen(const char *text, const char *default_host, struct weir_listen *out) {
    if (strcmp(text, "off") == 0) {
        out->on = false;
        return true;
    }
    const char *colon = strrchr(text, ':');
    if (colon == NULL) return false;
    char host[sizeof out->host];
    size_t size = (size_t)(colon - text);
    const char *begin = text;
    if (size == 0) {
        begin = default_host;
        size = strlen(default_host);
    } else if (*text == '[') {
        if (text[size - 1] != ']' || memchr(text, ':', size) == NULL) return false;
        begin = text + 1;
        size -= 2;
    } else if (memchr(text, ':', size) != NULL) {
        return false; /* ::1:4317 could be cut in more than one way */
    }
    if (size >= sizeof host) return false;
    memcpy(host, begin, size);
    host[size] = 0;
    int64_t port;
    if (!weir_value_host(host) || !isdigit((unsigned char)colon[1]) || strchr(colon, '_') != NULL) return false;
    if (!weir_value_integer(colon + 1, &port) || port < 1 || port > 65535) return false;
    out->on = true;
    memcpy(out->host, host, size + 1);
    out->port = (uint16_t)port;
    return true;
}

static void print_scaled(uint64_t value, const struct unit *units, const char *const *names, size_t count, char *out,
                         size_t out_size) {
    for (size_t i = 0; i < count; i++) {
        const struct unit *unit = NULL;
        for (const struct unit *u = units; unit == NULL; u++) {
            if (strcmp(u->name, names[i]) == 0) unit = u;
        }
        if ((value >= unit->factor && value % unit->factor == 0) || i + 1 == count) {
            snprintf(out, out_size, "%llu%s", (unsigned long long)(value / unit->factor), unit->name);
            return;
        }
    }
}

void weir_value_print_bytes(uint64_t bytes, char *out, size_t out_size) {
    static const char *const names[] = {"TiB", "GiB", "MiB", "KiB", ""};
    print_scaled(bytes, byte_units, names, sizeof names / sizeof *names, out, out_size);
}

void weir_value_print_duration(uint64_t ns, char *out, size_t out_size) {
    static const char *const names[] = {"h", "m", "s", "ms", "us", "ns"};
    if (ns == 0) {
        snprintf(out, out_size, "0s");
        return;
    }
    print_scaled(ns, time_units, names, sizeof names / sizeof *names, out, out_size);
}
