/* Any bytes as the answer of /policy: refused, or a table that no line of is wider than a terminal, and that moves no
 * cursor. */
#include "collector/cli/policy/view.h"
#include "collector/cli/text.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_lines(char *text, bool unicode) {
    for (char *line = strtok(text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (weir_text_columns(line, unicode) > 200) abort(); /* numbers of any size may stand in it */
        for (const char *c = line; *c != 0; c++) {
            if ((unsigned char)*c < 0x20) abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_names *names = weir_names_new(4096, 1 << 20);
    struct weir_policy_view view = {.names = names};
    struct weir_error err = {0};
    if (weir_policy_view_read(&view, data, size, &err) == WEIR_OK) {
        for (int unicode = 0; unicode < 2; unicode++) {
            struct weir_buffer out = {0};
            weir_policy_view_print(&view, "source", 1e9, unicode != 0, false, unicode != 0, &out);
            weir_buffer_byte(&out, 0);
            if (!out.failed) check_lines((char *)out.bytes, unicode != 0);
            weir_buffer_free(&out);
        }
    } else if (err.text[0] == 0) {
        abort();
    }
    weir_policy_view_free(&view);
    weir_names_free(names);
    return 0;
}
