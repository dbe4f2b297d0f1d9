#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/cli/text.h"
#include "collector/cli/top/draw.h"
#include "pages.h"

#include <stdio.h>
#include <stdlib.h>

#define EARLY                                                                                                          \
    OWN "weir_spans_received_total{receiver=\"grpc\"} 0\nweir_exporter_paused{exporter=\"kafka\"} 1\n"                 \
        "weir_exporter_oldest_age_seconds{exporter=\"kafka\"} 12\nweir_intake_bytes 1048576\n"                         \
        "weir_intake_limit_bytes 67108864\nweir_spool_bytes{exporter=\"kafka\"} 3221225472\n"                          \
        "weir_spool_limit_bytes{exporter=\"kafka\"} 10737418240\n" OK_CALLS("pay", "a", "0")
#define LATE                                                                                                           \
    EARLY "weir_spans_received_total{receiver=\"zipkin\"} 400\n" OK_CALLS("pay", "a", "100")                           \
        BAD_CALLS("pay", "a", "10") OK_CALLS("search", "b", "50") VARIANCE("search", "b", "25")                        \
            OK_CALLS("a-service-with-a-name-of-more-than-forty-columns", "GET /v2/payments/{id}/refunds/{id}", "20")   \
                OK_CALLS("\xe6\x94\xaf\xe6\x89\x95\xe3\x81\x84", "c", "6") OK_CALLS("\x1b[2Jevil\x07", "d", "4")       \
                    BUCKET("pay", "a", "0.1", "90") BUCKET("pay", "a", "1", "109") BUCKET("pay", "a", "+Inf", "110")   \
                        CALL("traces_service_graph_request_total", "edge", "pay", "40")

struct scene {
    struct weir_top_page before, now;
    struct weir_top_numbers numbers;
    struct weir_top_rows services, rows;
    struct weir_top_known known;
    struct weir_top_state state;
    struct weir_top_frame frame;
    struct weir_buffer out;
};

static void set(struct scene *scene, enum weir_top_table_kind table) {
    *scene = (struct scene){.before = page_of(10, EARLY), .now = page_of(12, LATE)};
    weir_top_numbers(&scene->before, &scene->now, 1075, &scene->numbers);
    assert_true(weir_top_rows(&scene->before, &scene->now, NULL, WEIR_TOP_SERVICES, 0, &scene->services));
    assert_true(weir_top_rows(&scene->before, &scene->now, NULL, table, 0, &scene->rows));
    scene->state = (struct weir_top_state){.table = table, .sort = WEIR_TOP_BY_RATE};
    scene->known = (struct weir_top_known){
        .numbers = &scene->numbers, .services = &scene->services, .names = names, .ready = true};
    scene->frame = (struct weir_top_frame){.state = &scene->state,
                                           .known = &scene->known,
                                           .rows = &scene->rows,
                                           .unfiltered = scene->rows.count,
                                           .source = "http://127.0.0.1:9646",
                                           .clock = "12:34:56",
                                           .answered = true};
}

static const char *drawn(struct scene *scene, const struct weir_top_look *look) {
    weir_top_arrange(&scene->state, names, &scene->rows);
    weir_buffer_clear(&scene->out);
    weir_top_draw(&scene->frame, look, &scene->out);
    weir_buffer_byte(&scene->out, 0);
    assert_false(scene->out.failed);
    return (const char *)scene->out.bytes;
}

static void end(struct scene *scene) {
    weir_top_page_clear(&scene->before);
    weir_top_page_clear(&scene->now);
    weir_top_rows_free(&scene->services);
    weir_top_rows_free(&scene->rows);
    weir_buffer_free(&scene->out);
}

static void a_frame_of_text(void **state) {
    (void)state;
    const struct weir_top_look look = {.columns = 80};
    struct scene scene;
    set(&scene, WEIR_TOP_SERVICES);
    assert_string_equal(drawn(&scene, &look),
                        "weir 1.2.3  127.0.0.1:9646  ready  up 1m15s  memory 0  cpu 0.0%         12:34:56\n"
                        "MESH      failing     pay fails 9.1 % of 55 req/s; 1 of 5 is over 1 %\n"
                        "TELEMETRY late        kafka does not take spans, the oldest waits 12s\n"
                        "TRACING   not steered 200 spans/s; no policy tells proxies how many to send\n"
                        "spans/s   in 200  refused 0  dropped 0  ledger ok  left out 0  held 0\n"
                        "bounds    intake 1M of 64M\n"
                        "exporters kafka PAUSED 12s, 0/s  spool 3G of 10G\n"
                        "SERVICES  5 by REQ/S\n"
                        "SERVICE                          REQ/Sv         ERR    P50    P95    P99 SPANS/S\n"
                        "pay                                55.0        9.1% 61.1ms  787ms  995ms    55.0\n"
                        "search                             25.0+-20%     0%      -      -      -    25.0\n"
                        "a-service-with-a-name-of-more..    10.0          0%      -      -      -    10.0\n"
                        "???                                3.00          0%      -      -      -    3.00\n"
                        "?[2Jevil?                          2.00          0%      -      -      -    2.00\n");
    end(&scene);
}

static void no_line_is_wider_than_the_screen(void **state) {
    (void)state;
    struct scene scene;
    for (int kind = 0; kind < WEIR_TOP_KINDS; kind++) {
        set(&scene, (enum weir_top_table_kind)kind);
        for (uint32_t columns = 1; columns < 200; columns++) {
            struct weir_top_look look = {.columns = columns, .lines = columns / 4, .unicode = columns % 2 == 0};
            scene.state.help = columns % 5 == 0;
            scene.state.filtering = columns % 7 == 0;
            scene.frame.complaint = columns % 3 == 0 ? "Connection \033[31mrefused by somebody far away" : NULL;
            look.live = look.lines > 0;
            uint32_t lines = 0;
            char *text = strdup(drawn(&scene, &look)), *rest = text;
            for (char *line; (line = strsep(&rest, "\n")) != NULL && rest != NULL; lines++) {
                char plain[4096];
                size_t size = 0; /* without the escapes that are ours: ESC [ ... m */
                for (const char *c = line; *c != 0; c++) {
                    if (*c == 033)
                        c += strcspn(c, "m");
                    else
                        plain[size++] = *c;
                }
                plain[size] = 0;
                assert_true(weir_text_columns(plain, true) <= columns);
            }
            if (look.lines > 0) assert_int_equal(lines, look.lines);
            free(text);
        }
        end(&scene);
    }
}

static void wide_names_do_not_shift_columns(void **state) {
    (void)state;
    const struct weir_top_look look = {.columns = 80, .unicode = true};
    struct scene scene;
    set(&scene, WEIR_TOP_SERVICES);
    const char *text = drawn(&scene, &look);
    const char *wide = strstr(text, "\xe6\x94\xaf\xe6\x89\x95\xe3\x81\x84"), *pay = strstr(text, "\npay ") + 1;
    assert_non_null(wide);
    assert_null(strstr(text, "\033"));
    char a[256], b[256];
    snprintf(a, sizeof a, "%.*s", (int)(strstr(wide, "3.00") + 4 - wide), wide);
    snprintf(b, sizeof b, "%.*s", (int)(strstr(pay, "55.0") + 4 - pay), pay);
    assert_int_equal(weir_text_columns(a, true), weir_text_columns(b, true));
    end(&scene);
}

static void rows_are_filtered_and_sorted(void **state) {
    (void)state;
    const struct weir_top_look look = {.columns = 80};
    struct scene scene;
    set(&scene, WEIR_TOP_SERVICES);
    snprintf(scene.state.filter, sizeof scene.state.filter, "%s", "SEAR");
    assert_non_null(strstr(drawn(&scene, &look), "SERVICES  1 of 5 by REQ/S  filter: SEAR\n"));
    assert_int_equal(scene.rows.count, 1);
    end(&scene);
    set(&scene, WEIR_TOP_SERVICES);
    scene.state.sort = WEIR_TOP_BY_NAME;
    drawn(&scene, &look);
    assert_int_equal(scene.rows.rows[0].first, name("\x1b[2Jevil\x07"));
    scene.state.reverse = true;
    drawn(&scene, &look);
    assert_int_equal(scene.rows.rows[4].first, name("\x1b[2Jevil\x07"));
    scene.state.sort = WEIR_TOP_BY_P99; /* what is not known stays behind */
    drawn(&scene, &look);
    assert_int_equal(scene.rows.rows[0].first, name("pay"));
    end(&scene);
}

static void colour_only_when_asked_for(void **state) {
    (void)state;
    struct weir_top_look look = {.columns = 80, .lines = 24, .live = true};
    struct scene scene;
    set(&scene, WEIR_TOP_SERVICES);
    const char *text = drawn(&scene, &look);
    assert_non_null(strstr(text, "\033[7m"));
    assert_null(strstr(text, "31m"));
    assert_null(strstr(text, "32m"));
    assert_null(strstr(text, "33m"));
    look.colour = true;
    assert_non_null(strstr(drawn(&scene, &look), "\033[1;31mfailing\033[0m"));
    look.live = look.colour = false;
    assert_null(strstr(drawn(&scene, &look), "\033"));
    end(&scene);
}

static void nothing_known_is_no_row(void **state) {
    (void)state;
    const struct weir_top_look look = {.columns = 80};
    struct scene scene;
    set(&scene, WEIR_TOP_SERVICES);
    scene.numbers = (struct weir_top_numbers){0};
    scene.rows.count = scene.services.count = 0;
    scene.frame.unfiltered = 0;
    scene.frame.answered = false;
    scene.frame.complaint = "Connection refused";
    scene.known.silent = true;
    const char *text = drawn(&scene, &look);
    assert_non_null(strstr(text, "NO ANSWER"));
    assert_non_null(strstr(text, "tries again; Connection refused"));
    assert_non_null(strstr(text, "TELEMETRY no answer   Weir does not answer: what came since is not known\n"));
    assert_non_null(strstr(text, "nothing is known yet"));
    end(&scene);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_frame_of_text),
        cmocka_unit_test(no_line_is_wider_than_the_screen),
        cmocka_unit_test(wide_names_do_not_shift_columns),
        cmocka_unit_test(rows_are_filtered_and_sorted),
        cmocka_unit_test(colour_only_when_asked_for),
        cmocka_unit_test(nothing_known_is_no_row),
    };
    return cmocka_run_group_tests(tests, set_names, free_names);
}
