#include "collector/cli/columns.h"
#include "collector/cli/text.h"

#include <math.h>
#include <stdio.h>

enum { NUMBER_BYTES = 48 };

void weir_column_name(struct weir_buffer *out, const char *name, uint32_t indent, uint32_t columns, bool unicode) {
    weir_text_spaces(out, indent);
    uint32_t used = indent + weir_text_put(out, name, columns - indent, unicode);
    if (used < columns) weir_text_spaces(out, columns - used);
}

void weir_column_text(struct weir_buffer *out, int columns, const char *text) {
    weir_buffer_printf(out, "%*s", columns, text);
}

void weir_column_number(struct weir_buffer *out, int columns, double value) {
    char text[NUMBER_BYTES] = "0";
    if (!(value > 0)) {
        /* nothing, or no number */
    } else if (value < 0.095) {
        snprintf(text, sizeof text, "%.2g", value);
    } else if (value < 9.995) {
        snprintf(text, sizeof text, "%.2f", value);
    } else if (value < 999.95) {
        snprintf(text, sizeof text, "%.1f", value);
    } else if (value < 9999999.5) {
        weir_text_count((uint64_t)(value + 0.5), text);
    } else {
        snprintf(text, sizeof text, value < 1e15 ? "%.1fM" : "%.3gM", value / 1e6);
    }
    weir_column_text(out, columns, text);
}

void weir_column_short(struct weir_buffer *out, int columns, double value) {
    char text[NUMBER_BYTES];
    if ((value >= 99.95 && value < 999.5) || (value > 0 && value < 999.5 && value == floor(value))) {
        snprintf(text, sizeof text, "%.0f", value);
    } else if (value >= 99999.5 && value < 1e15) {
        snprintf(text, sizeof text, value < 999500 ? "%.0fK" : "%.1fM", value < 999500 ? value / 1e3 : value / 1e6);
    } else {
        weir_column_number(out, columns,
                           value >= 99.95  ? round(value)
                           : value >= 9.95 ? round(10 * value) / 10
                                           : value);
        return;
    }
    weir_column_text(out, columns, text);
}

void weir_column_bytes(struct weir_buffer *out, int columns, double bytes) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    char text[NUMBER_BYTES];
    int unit = 0;
    if (!(bytes > 0)) bytes = 0;
    for (; bytes >= 1023.95 && unit < 4; unit++)
        bytes /= 1024;
    snprintf(text, sizeof text, unit == 0 ? "%.0f %s" : bytes < 1e6 ? "%.1f %s" : "%.3g %s", bytes, units[unit]);
    weir_column_text(out, columns, text);
}

void weir_column_share(struct weir_buffer *out, int columns, double share) {
    char text[NUMBER_BYTES];
    double percent = 100 * share;
    if (percent >= 999.5)
        snprintf(text, sizeof text, "%.0f %%", percent);
    else /* three digits, but for what is nearly all: 99.96 is no 100 */
        snprintf(text, sizeof text, percent >= 99.95 && percent < 100 ? "%.6g %%" : "%.3g %%",
                 percent > 0 ? percent : 0.0);
    weir_column_text(out, columns, text);
}
