#include "collector/cli/tail/lines.h"
#include "collector/cli/text.h"

#include <string.h>

/* A line of GET /tail, read and drawn: whatever it says, nothing but text within the terminal's columns comes out. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_tail_line line; /* kept: its memory is used again for the next */
    static struct weir_buffer out;
    if (weir_tail_line_read(&line, data, size, NULL) != WEIR_OK || line.kind != WEIR_TAIL_TRACE) return 0;
    const struct weir_tree_look look = {
        .columns = 40 + (uint32_t)size % 100, .spans_max = size % 3 * 4, .unicode = size % 2 == 0};
    weir_buffer_clear(&out);
    weir_tree_draw(&line.trace, &look, &out);
    weir_buffer_byte(&out, 0);
    for (char *at = (char *)out.bytes, *end; *at != 0; at = end + 1) {
        end = strchr(at, '\n');
        if (end == NULL) __builtin_trap();
        *end = 0;
        if (weir_text_columns(at, true) > look.columns) __builtin_trap();
        for (const char *c = at; c < end; c++) {
            if ((uint8_t)*c < 0x20 || *c == 0x7f || (!look.unicode && (uint8_t)*c >= 0x80)) __builtin_trap();
        }
    }
    return 0;
}
