/* How `weir tail` reads what it is told. */
#include "collector/cli/tail/lines.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const char whole[] =
    "{\"trace\":\"4bf92f3577b34da6a3ce929d0e0e4736\",\"kept\":true,\"decided_unix_ns\":\"1700000000500000000\","
    "\"start_unix_ns\":\"1700000000000000000\",\"duration_ns\":312000000,\"span_count\":3,\"error\":true,"
    "\"rule\":\"err\\u0000ors\",\"weight\":2.5,\"cause\":\"root\",\"service\":\"edge\",\"operation\":\"GET \\\"/\\\"\","
    "\"later\":{\"more\":[1,{}]},\"spans\":["
    "{\"id\":\"fedcba9876543210\",\"service\":\"edge\",\"operation\":\"GET /\",\"kind\":\"server\",\"offset_ns\":0,"
    "\"duration_ns\":312000000},"
    "{\"id\":\"0000000000000002\",\"parent\":\"fedcba9876543210\",\"service\":\"p\\u00e4y\",\"operation\":\"\","
    "\"kind\":\"what is not "
    "known\",\"offset_ns\":-7,\"duration_ns\":18446744073709551615,\"error\":true,\"more\":null},"
    "{}]}";

static enum weir_status read(struct weir_tail_line *line, const char *text, size_t size, struct weir_error *err) {
    uint8_t *bytes =
        malloc(size > 0 ? size : 1); /* of its size to the byte, so that a sanitizer sees what reads further */
    memcpy(bytes, text, size);
    enum weir_status status = weir_tail_line_read(line, bytes, size, err);
    free(bytes);
    return status;
}

static void lines(void **state) {
    (void)state;
    struct weir_tail_line line = {0};
    struct weir_error err = {0};
    assert_int_equal(read(&line, whole, sizeof whole - 1, &err), WEIR_OK);
    assert_int_equal(line.kind, WEIR_TAIL_TRACE);
    const struct weir_tree_trace *trace = &line.trace;
    assert_true(trace->trace_hi == 0x4bf92f3577b34da6 && trace->trace_lo == 0xa3ce929d0e0e4736);
    assert_true(trace->kept && trace->error && trace->weight == 2.5);
    assert_true(trace->start_ns == 1700000000000000000 && trace->decided_ns == 1700000000500000000);
    assert_true(trace->duration_ns == 312000000 && trace->span_count == 3 && trace->count == 3);
    assert_string_equal(trace->rule, "err\001ors");
    assert_string_equal(trace->cause, "root");
    assert_string_equal(trace->service, "edge");
    assert_string_equal(trace->operation, "GET \"/\"");
    const struct weir_tree_span *spans = trace->spans;
    assert_true(spans[0].id == 0xfedcba9876543210 && spans[0].parent == 0 && spans[0].kind == WEIR_KIND_SERVER);
    assert_true(spans[0].offset_ns == 0 && spans[0].duration_ns == 312000000 && !spans[0].error);
    assert_true(spans[1].id == 2 && spans[1].parent == 0xfedcba9876543210 && spans[1].kind == WEIR_KIND_UNSPECIFIED);
    assert_true(spans[1].offset_ns == -7 && spans[1].duration_ns == UINT64_MAX && spans[1].error);
    assert_string_equal(spans[1].service, "p\xc3\xa4y");
    assert_true(spans[2].id == 0 && spans[2].offset_ns == WEIR_TREE_NO_OFFSET && spans[2].service[0] == 0);

    /* The next line finds nothing of the one before. */
    static const char dropped[] = "{\"trace\":\"a3ce929d0e0e4736\",\"kept\":false,\"spans\":[]}";
    assert_int_equal(read(&line, dropped, sizeof dropped - 1, &err), WEIR_OK);
    assert_true(trace->trace_hi == 0 && trace->trace_lo == 0xa3ce929d0e0e4736 && !trace->kept && !trace->error);
    assert_true(trace->count == 0 && trace->start_ns == 0 && trace->rule == NULL);

    const struct {
        const char *text;
        enum weir_tail_kind kind;
        bool deciding;
        uint64_t lost;
    } rows[] = {
        {"{\"weir\":\"tail\",\"deciding\":true}", WEIR_TAIL_HELLO, true, 0},
        {"{\"weir\":\"tail\",\"deciding\":false,\"note\":\"no\"}", WEIR_TAIL_HELLO, false, 0},
        {"{\"pulse\":\"1\",\"deciding\":true}", WEIR_TAIL_PULSE, true, 0},
        {"{\"lost\":42}", WEIR_TAIL_LOST, false, 42},
        {"{\"news\":[]}\r", WEIR_TAIL_OTHER, false, 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        assert_int_equal(read(&line, rows[i].text, strlen(rows[i].text), &err), WEIR_OK);
        assert_int_equal(line.kind, rows[i].kind);
        assert_int_equal(line.deciding, rows[i].deciding);
        assert_int_equal(line.lost, rows[i].lost);
    }
    weir_tail_line_free(&line);
}

static void broken_lines(void **state) {
    (void)state;
    struct weir_tail_line line = {0};
    struct weir_error err = {0};
    for (size_t size = 0; size < sizeof whole - 1; size++) {
        err.text[0] = 0;
        assert_int_equal(read(&line, whole, size, &err), WEIR_INVALID);
        assert_int_equal(strncmp(err.text, "byte ", 5), 0);
    }
    static const char *const rows[] = {
        "<html>",
        "{\"trace\":\"4bf92f3577b34da6\"} {}",
        "{\"trace\":\"4bf9\"}",
        "{\"trace\":\"zzf92f3577b34da6\"}",
        "{\"spans\":{}}",
        "{\"spans\":[7]}",
        "{\"spans\":[{\"id\":\"4bf92f3577b34da64bf92f3577b34da6\"}]}",
        "{\"spans\":[{\"duration_ns\":-1}]}",
        "{\"lost\":\"many\"}",
        "{\"note\":7}",
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        assert_int_equal(read(&line, rows[i], strlen(rows[i]), &err), WEIR_INVALID);
    weir_tail_line_free(&line);
}

static void more_spans_than_are_read(void **state) {
    (void)state;
    struct weir_buffer text = {0};
    weir_buffer_text(&text, "{\"trace\":\"4bf92f3577b34da6\",\"spans\":[{\"id\":\"0000000000000001\"}");
    for (unsigned i = 1; i < WEIR_TAIL_SPANS_MAX + 5; i++)
        weir_buffer_text(&text, ",{\"service\":\"s\"}");
    weir_buffer_text(&text, "],\"span_count\":10005}");
    struct weir_tail_line line = {0};
    struct weir_error err = {0};
    assert_int_equal(weir_tail_line_read(&line, text.bytes, text.size, &err), WEIR_OK);
    assert_int_equal(line.trace.count, WEIR_TAIL_SPANS_MAX);
    assert_int_equal(line.trace.span_count, WEIR_TAIL_SPANS_MAX + 5);
    assert_int_equal(line.trace.spans[0].id, 1);
    weir_buffer_free(&text);
    weir_tail_line_free(&line);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines),
        cmocka_unit_test(broken_lines),
        cmocka_unit_test(more_spans_than_are_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
