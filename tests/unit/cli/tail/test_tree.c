/* Screens, as text: what a person sees of traces of several shapes. */
#include "collector/cli/tail/tree.h"
#include "collector/cli/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MS    1000000ll
#define COUNT 3000

static struct weir_tree_span spans[COUNT];
static const struct weir_tree_look wide_as_a_terminal = {.columns = 80, .unicode = true, .spans_max = 40};

static void add(struct weir_tree_trace *trace, uint64_t id, uint64_t parent, const char *service, const char *operation,
                int64_t offset_ns, uint64_t duration_ns, enum weir_kind kind, bool error) {
    trace->spans = spans;
    spans[trace->count++] = (struct weir_tree_span){.id = id,
                                                    .parent = parent,
                                                    .service = service,
                                                    .operation = operation,
                                                    .offset_ns = offset_ns,
                                                    .duration_ns = duration_ns,
                                                    .kind = kind,
                                                    .error = error};
    trace->span_count++;
}

static struct weir_tree_trace trace_of(uint64_t duration_ns) {
    return (struct weir_tree_trace){.trace_hi = 0x4bf92f3577b34da6,
                                    .trace_lo = 0xa3ce929d0e0e4736,
                                    .start_ns = 1700000000ull * 1000000000 + 123456789,
                                    .duration_ns = duration_ns,
                                    .kept = true,
                                    .rule = "errors",
                                    .cause = "root",
                                    .weight = 1,
                                    .service = "edge",
                                    .operation = "GET /checkout"};
}

static struct weir_tree_trace checkout(void) {
    struct weir_tree_trace trace = trace_of(312 * MS);
    trace.error = true;
    add(&trace, 1, 0, "edge", "GET /checkout", 0, 312 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 2, 1, "cart", "GET /cart", 4 * MS, 12 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 3, 2, "redis", "GET", 6 * MS, 830000, WEIR_KIND_CLIENT, false);
    add(&trace, 4, 1, "payments", "POST /v2/charge", 20 * MS, 250 * MS, WEIR_KIND_SERVER, true);
    add(&trace, 5, 4, "bank", "POST /authorize", 25 * MS, 240 * MS, WEIR_KIND_CLIENT, true);
    return trace;
}

static char *drawn(const struct weir_tree_trace *trace, const struct weir_tree_look *look) {
    struct weir_buffer out = {0};
    weir_tree_draw(trace, look, &out);
    weir_buffer_byte(&out, 0);
    assert_false(out.failed);
    return (char *)out.bytes;
}

/* Draws, and holds the screen against what is expected, line by line. */
static void looks(const struct weir_tree_trace *trace, const struct weir_tree_look *look, const char *expected) {
    char *screen = drawn(trace, look);
    if (strcmp(screen, expected) != 0) fprintf(stderr, "expected:\n%s\ndrawn:\n%s\n", expected, screen);
    assert_string_equal(screen, expected);
    free(screen);
}

static void a_trace_in_80_columns(void **state) {
    (void)state;
    struct weir_tree_trace trace = checkout();
    looks(&trace, &wide_as_a_terminal,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 312ms 5 spans errors ×1 root\n"
          "edge GET /checkout                                   312ms  ━━━━━━━━━━━━━━━━━━━━\n"
          "├─cart GET /cart                                    12.0ms  ━\n"
          "│ └─redis GET                                        830µs  ╸\n"
          "└─payments POST /v2/charge                        ✗  250ms   ━━━━━━━━━━━━━━━━╸\n"
          "  └─bank POST /authorize                          ✗  240ms   ╺━━━━━━━━━━━━━━━\n");
    struct weir_tree_look ascii = wide_as_a_terminal;
    ascii.unicode = false;
    looks(&trace, &ascii,
          "+ 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 312ms 5 spans errors x1 root\n"
          "edge GET /checkout                                   312ms  ====================\n"
          "|-cart GET /cart                                    12.0ms  =\n"
          "| `-redis GET                                        830us  =\n"
          "`-payments POST /v2/charge                        !  250ms   =================\n"
          "  `-bank POST /authorize                          !  240ms   ================\n");
}

/* Where there is room the header says what the trace is about; where there is little it takes two lines. */
static void wider_and_narrower(void **state) {
    (void)state;
    struct weir_tree_trace trace = checkout();
    trace.count = 1;
    trace.span_count = 1;
    struct weir_tree_look look = wide_as_a_terminal;
    look.columns = 100;
    looks(&trace, &look,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 edge GET /checkout 312ms 1 span errors ×1 root\n"
          "edge GET /checkout                                                  312ms  ━━━━━━━━━━━━━━━━━━━━━━━━━\n");
    look.columns = 40;
    looks(&trace, &look,
          "● 4bf92f3577b34da6a3ce929d0e0e4736\n"
          "  22:13:20.123 312ms 1 span errors ×1\n"
          "edge GET /checkout       312ms  ━━━━━━━━\n");
    look.columns = 50;
    looks(&trace, &look,
          "● 4bf92f3577b34da6a3ce929d0e0e4736\n"
          "  22:13:20.123 312ms 1 span errors ×1 root\n"
          "edge GET /checkout             312ms  ━━━━━━━━━━━━\n");
}

static void colours(void **state) {
    (void)state;
    struct weir_tree_trace trace = checkout();
    struct weir_tree_look look = wide_as_a_terminal;
    look.colour = true;
    char *screen = drawn(&trace, &look);
    assert_non_null(strstr(screen, "\033[31mPOST /v2/charge\033[0m"));     /* an error is red */
    assert_non_null(strstr(screen, "\033[31m━━━━━━━━━━━━━━━━╸\033[0m\n")); /* and so is its time */
    assert_null(strstr(screen, "\033[31mGET /cart"));
    /* Without what colours it is the same screen. */
    look.colour = false;
    char *other = drawn(&trace, &look), *to = screen;
    for (const char *at = screen; *at != 0; at++) {
        if (*at == '\033') {
            at += strcspn(at, "m");
        } else {
            *to++ = *at;
        }
    }
    *to = 0;
    assert_string_equal(screen, other);
    free(other);
    free(screen);
}

static void a_large_trace_is_folded(void **state) {
    (void)state;
    struct weir_tree_trace trace = trace_of(1500 * MS);
    trace.rule = "slow-checkouts-and-more";
    trace.weight = 1234.4;
    trace.cause = "memory";
    add(&trace, 1, 0, "edge", "GET /", 0, 1500 * MS, WEIR_KIND_SERVER, false);
    for (uint64_t i = 0; i < 1200; i++)
        add(&trace, 10 + i, 1, "db", "SELECT things", (int64_t)i * MS, i % 7 * MS / 3, WEIR_KIND_CLIENT, i % 400 == 7);
    add(&trace, 2, 1, "cart", "GET /cart", 1300 * MS, 100 * MS, WEIR_KIND_SERVER, false);
    for (uint64_t i = 0; i < 90; i++)
        add(&trace, 2000 + i, 2, "redis", i % 2 ? "GET" : "SET", 1301 * MS, (i + 1) * 1000, WEIR_KIND_CLIENT, false);
    trace.span_count += 5000;
    struct weir_tree_look look = wide_as_a_terminal;
    look.spans_max = 9;
    /* Errors, then the longest; of those that are alike three. */
    looks(&trace, &look,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 1.50s 6,292 spans\n"
          "  slow-checkouts-and-more ×1,234 memory\n"
          "edge GET /                                           1.50s  ━━━━━━━━━━━━━━━━━━━━\n"
          "├─db SELECT things                                   2.0ms  ╸\n"
          "├─db SELECT things                                ✗      0  ╸\n"
          "├─db SELECT things                                   2.0ms  ╸\n"
          "├─db SELECT things                                   2.0ms  ╸\n"
          "├─db SELECT things                                ✗  333µs       ╸\n"
          "├─db SELECT things                                ✗  667µs            ╺\n"
          "├─cart GET /cart                                     100ms                   ━╸\n"
          "│ ├─redis GET                                       90.0µs                   ╸\n"
          "│ └─… 89 more\n"
          "└─… 1,194 more\n"
          "… 5,000 more that were not sent\n");
    look.spans_max = 2; /* too little even for the errors */
    looks(&trace, &look,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 1.50s 6,292 spans\n"
          "  slow-checkouts-and-more ×1,234 memory\n"
          "edge GET /                                           1.50s  ━━━━━━━━━━━━━━━━━━━━\n"
          "├─db SELECT things                                ✗  667µs            ╺\n"
          "└─… 1,290 more, 2 errors\n"
          "… 5,000 more that were not sent\n");
}

/* What is left of a trace: two roots, a parent that did not come, a circle, a chain that is deep. */
static void a_trace_that_is_not_whole(void **state) {
    (void)state;
    struct weir_tree_trace trace = trace_of(12 * MS);
    trace.trace_hi = 0;
    trace.kept = false;
    trace.rule = "rest";
    trace.cause = "wait";
    add(&trace, 5, 5, "its own parent", "GET /", 1 * MS, 9 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 1, 0x77, "left", "one", 0, 9 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 2, 0x77, "left", "two", WEIR_TREE_NO_OFFSET, 9 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 3, 4, "c", "circle", 1 * MS, 9 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 4, 3, "d", "circle", 1 * MS, 9 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 6, 0, "second root", "", 3 * MS, 9 * MS, WEIR_KIND_SERVER, false);
    looks(&trace, &wide_as_a_terminal,
          "○ 22:13:20.123 a3ce929d0e0e4736 12.0ms 6 spans rest dropped wait\n"
          "its own parent GET /                                 9.0ms   ╺━━━━━━━━━━━━━━╸\n"
          "second root                                          9.0ms       ━━━━━━━━━━━━━━━\n"
          "c circle (parents in a circle)                       9.0ms   ╺━━━━━━━━━━━━━━╸\n"
          "└─d circle                                           9.0ms   ╺━━━━━━━━━━━━━━╸\n"
          "(parent 0000000000000077 did not come)\n"
          "├─left one                                           9.0ms  ━━━━━━━━━━━━━━━\n"
          "└─left two                                           9.0ms\n");
}

static void without_spans(void **state) {
    (void)state;
    struct weir_tree_trace trace = trace_of(12 * MS);
    trace.kept = false;
    trace.span_count = 9;
    looks(&trace, &wide_as_a_terminal,
          "○ 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 12.0ms 9 spans errors dropped\n"
          "edge GET /checkout\n");
}

/* A server whose clock is three seconds behind, and what it calls in turn; Zipkin's two spans with one id; a second
 * tree that is a day away. */
static void clocks_that_disagree(void **state) {
    (void)state;
    struct weir_tree_trace trace = trace_of(12 * MS);
    add(&trace, 1, 0, "edge", "GET /", 0, 12 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 2, 1, "edge", "call", 1 * MS, 10 * MS, WEIR_KIND_CLIENT, false);
    add(&trace, 2, 1, "late", "serve", -3000 * MS, 6 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 3, 2, "late", "query", -2998 * MS, 2 * MS, WEIR_KIND_CLIENT, false);
    add(&trace, 4, 3, "edge", "called back", 6 * MS, 1 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 5, 1, "queue", "afterwards", 15 * MS, 1 * MS, WEIR_KIND_CONSUMER, false);
    add(&trace, 9, 0, "tomorrow", "", 86400000 * MS, 3 * MS, WEIR_KIND_SERVER, false);
    looks(&trace, &wide_as_a_terminal,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 12.0ms 7 spans errors ×1 root\n"
          "edge GET /                                          12.0ms  ━━━━━━━━━━━━━━━\n"
          "├─edge call                                         10.0ms   ━━━━━━━━━━━━━\n"
          "│ └─late serve                                       6.0ms~    ╺━━━━━━━╸\n"
          "│   └─late query                                     2.0ms~       ━━━\n"
          "│     └─edge called back                             1.0ms         ╺━\n"
          "└─queue afterwards                                   1.0ms                    ╺━\n"
          "tomorrow                                             3.0ms~ ━━━━\n");
}

static void nothing_harms_the_terminal(void **state) {
    (void)state;
    struct weir_tree_trace trace = trace_of(12 * MS);
    trace.rule = "a\033[2Jb";
    trace.cause = "\a";
    trace.service = "x\u202ey";
    add(&trace, 1, 0, "日本語のサービス", "決済\r\n\033]0;title\a", 0, 12 * MS, WEIR_KIND_SERVER, false);
    add(&trace, 2, 1, "\xff\xfe\xc3(", "a\u202eb\u200b\u2028e\u0301\u0301\u0301\u0301", 0, 12 * MS, WEIR_KIND_SERVER,
        false);
    add(&trace, 3, 1, "", "\xe2\x82", 0, 12 * MS, WEIR_KIND_SERVER, false);
    looks(&trace, &wide_as_a_terminal,
          "● 22:13:20.123 4bf92f3577b34da6a3ce929d0e0e4736 12.0ms 3 spans a�[2Jb ×1 �\n"
          "日本語のサービス 決済���]0;title�                   12.0ms  ━━━━━━━━━━━━━━━━━━━━\n"
          "├─���( a�b��é́                                       12.0ms  ━━━━━━━━━━━━━━━━━━━━\n"
          "└─? ��                                              12.0ms  ━━━━━━━━━━━━━━━━━━━━\n");
}

/* Whatever comes: each span is drawn once, no line is longer than the terminal, nothing but text and line ends. */
static void any_shape(void **state) {
    (void)state;
    static const char *const names[] = {"edge", "cart", "日本語", "",
                                        "a-name-that-is-longer-than-there-is-room-for-in-it"};
    uint64_t random = 42;
    for (unsigned run = 0; run < 4000; run++) {
        struct weir_tree_trace trace = trace_of(12 * MS);
        unsigned count = run % 97;
        for (unsigned i = 0; i < count; i++) {
            random = random * 6364136223846793005ull + 1442695040888963407ull;
            uint64_t bits = random >> 16;
            int64_t offset = (int64_t)(bits % 40) * MS - 10 * MS;
            if (bits % 23 == 0) offset = (int64_t)random;
            if (bits % 29 == 0) offset = bits % 2 ? INT64_MAX : INT64_MIN;
            add(&trace, 1 + (bits >> 8) % (count + 3), (bits >> 16) % (count + 6), names[(bits >> 24) % 5],
                names[(bits >> 28) % 5], offset, bits % 31 == 0 ? random : bits % 20 * MS, bits % 6, bits % 7 == 0);
        }
        struct weir_tree_look look = {.columns = 40 + run % 100, .unicode = run % 2, .spans_max = run % 3 * 10};
        char *screen = drawn(&trace, &look);
        unsigned lines = 0, missing = 0;
        for (char *line = strtok(screen, "\n"); line != NULL; line = strtok(NULL, "\n")) {
            if (weir_text_columns(line, true) > look.columns) fail_msg("longer than %u: %s", look.columns, line);
            for (const char *at = line; *at != 0; at++)
                assert_true(*at < 0 ? look.unicode : *at >= ' ' && *at != 0x7f);
            if (strstr(line, "did not come") != NULL) missing++;
            lines++;
        }
        if (look.spans_max == 0) assert_in_range(lines - missing, count + 1, count + 3); /* a header has one to three */
        free(screen);
    }
}

int main(void) {
    setenv("TZ", "UTC", 1);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_trace_in_80_columns),
        cmocka_unit_test(wider_and_narrower),
        cmocka_unit_test(colours),
        cmocka_unit_test(a_large_trace_is_folded),
        cmocka_unit_test(a_trace_that_is_not_whole),
        cmocka_unit_test(without_spans),
        cmocka_unit_test(clocks_that_disagree),
        cmocka_unit_test(nothing_harms_the_terminal),
        cmocka_unit_test(any_shape),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
