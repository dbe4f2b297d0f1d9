/* A page of /metrics from whoever answers, cut anywhere, read and drawn: nothing but text within the screen comes out,
 * and cutting changes nothing. */
#include "collector/cli/text.h"
#include "collector/cli/top/draw.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_page(struct weir_top_page *page, struct weir_exposition *lines, const uint8_t *data, size_t size,
                      size_t part) {
    *lines = (struct weir_exposition){.take = weir_top_page_take, .self = page};
    for (size_t at = 0; at < size; at += part)
        weir_exposition_feed(lines, data + at, part < size - at ? part : size - at);
    weir_exposition_end(lines);
    weir_exposition_free(lines);
}

static void check(const struct weir_buffer *out, const struct weir_top_look *look) {
    uint32_t lines = 0;
    for (size_t at = 0; at < out->size; lines++) {
        const uint8_t *stop = memchr(out->bytes + at, '\n', out->size - at);
        if (stop == NULL) abort();
        size_t end = (size_t)(stop - out->bytes);
        char *line = strndup((const char *)out->bytes + at, end - at);
        if (line == NULL) return;
        for (const char *c = line; *c != 0; c++) {
            if ((uint8_t)*c < 0x20 || *c == 0x7f) abort();
        }
        if (strlen(line) != end - at || weir_text_columns(line, true) > look->columns) abort();
        free(line);
        at = end + 1;
    }
    if (look->lines != 0 && lines > look->lines) abort();
}

static void draw(struct weir_top_page *before, struct weir_top_page *now, enum weir_top_table_kind table,
                 const struct weir_top_look *look) {
    struct weir_top_numbers numbers;
    struct weir_top_rows services = {0}, rows = {0};
    struct weir_buffer out = {0};
    struct weir_top_state state = {.table = table, .sort = (enum weir_top_column)(now->spans.count % WEIR_TOP_COLUMNS)};
    struct weir_top_known known = {.numbers = &numbers, .services = &services, .names = now->names, .ready = true};
    struct weir_top_frame frame = {
        .state = &state, .known = &known, .rows = &rows, .source = "here", .clock = "12:00:00", .answered = true};
    weir_top_numbers(before, now, 1e9, &numbers);
    if (weir_top_rows(before, now, NULL, WEIR_TOP_SERVICES, 0, &services) &&
        weir_top_rows(before, now, NULL, table, 0, &rows)) {
        frame.unfiltered = rows.count;
        weir_top_arrange(&state, now->names, &rows);
        weir_top_draw(&frame, look, &out);
        check(&out, look);
    }
    weir_top_rows_free(&services);
    weir_top_rows_free(&rows);
    weir_buffer_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_names *names = weir_names_new(1000, 1 << 16);
    struct weir_top_page whole = {.names = names, .mono_ns = 1}, cut = {.names = names, .mono_ns = 2000000001};
    struct weir_exposition a, b;
    if (names == NULL) return 0;
    read_page(&whole, &a, data, size, size == 0 ? 1 : size);
    read_page(&cut, &b, data, size, size % 7 + 1);
    if (a.samples != b.samples || a.skipped != b.skipped || whole.spans.count != cut.spans.count) abort();
    cut.mono_ns += size;
    struct weir_top_look look = {
        .columns = 1 + (uint32_t)size % 120, .lines = (uint32_t)size % 3 * 12, .unicode = size % 2 == 0};
    for (int table = 0; table < WEIR_TOP_KINDS; table++) {
        draw(&whole, &cut, (enum weir_top_table_kind)table, &look);
        draw(NULL, &cut, (enum weir_top_table_kind)table, &look);
    }
    weir_top_page_clear(&whole);
    weir_top_page_clear(&cut);
    weir_names_free(names);
    return 0;
}
