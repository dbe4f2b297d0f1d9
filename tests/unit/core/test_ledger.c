#include "collector/core/ledger.h"
#include "tests/unit/core/unit.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void read_queue(void *self, struct weir_queue_row *row) {
    *row = *(struct weir_queue_row *)self;
}

static const char *exposed(struct weir_ledger *ledger, struct weir_buffer *out) {
    weir_buffer_clear(out);
    weir_ledger_expose(ledger, out);
    weir_buffer_byte(out, 0);
    assert_false(out->failed);
    return (const char *)out->bytes;
}

static void says(const char *page, const char *line) {
    const char *at = strstr(page, line);
    if (at == NULL || (at != page && at[-1] != '\n')) fail_msg("no line %s in\n%s", line, page);
}

static void read_is_what_was_published(void **state) {
    (void)state;
    struct weir_ledger *ledger = weir_ledger_new(2);
    struct weir_lane_row row, got;
    uint64_t *cells = (uint64_t *)(void *)&row;
    for (size_t i = 0; i < sizeof row / sizeof *cells; i++)
        cells[i] = i + 1;
    weir_ledger_publish(ledger, 1, &row);
    weir_ledger_read(ledger, 1, &got);
    assert_memory_equal(&row, &got, sizeof row);
    weir_ledger_read(ledger, 0, &got);
    memset(&row, 0, sizeof row);
    assert_memory_equal(&row, &got, sizeof row);
    weir_ledger_free(ledger);
    weir_ledger_free(NULL);
}

static void every_place_of_a_span(void **state) {
    (void)state;
    struct weir_ledger *ledger = weir_ledger_new(2);
    struct weir_queue_row file = {.queued = 7, .in_flight = 5, .delivered = 8, .dropped = {1, 2, 3, 4}}; /* 30 */
    struct weir_queue_row zipkin = {.delivered = 29};
    weir_ledger_add_exporter(ledger, "file", read_queue, &file);
    weir_ledger_add_exporter(ledger, "zipkin/a", read_queue, &zipkin);
    struct weir_lane_row a = {.received = {[WEIR_RECEIVER_GRPC] = 60},
                              .refused = {[WEIR_RECEIVER_GRPC] = {11, 12, 13}},
                              .sampled_out = {4, 6},
                              .dropped = {[WEIR_DROP_MEMORY] = 1, [WEIR_DROP_MERGED] = 2},
                              .joined = 9,
                              .released = 8,
                              .handed_over = 20,
                              .taken_over = 5,
                              .batched = 20,
                              .fanned_out = 20,
                              .points_received = {[WEIR_RECEIVER_STATSD] = 9},
                              .points_rejected = {[WEIR_RECEIVER_STATSD] = {[WEIR_POINT_STALE] = 2}},
                              .points_handed_over = 4};
    struct weir_lane_row b = {
        .handed_over = 2, .taken_over = 16, .batched = 12, .fanned_out = 10, .points_taken_over = 3};
    weir_ledger_publish(ledger, 0, &a);
    weir_ledger_publish(ledger, 1, &b);
    /* 60 = 10 sampled out + 3 dropped + 1 between the lanes + 1 that waits + 2 in batches + 30, and 13 that are nowhere
     */
    struct weir_buffer out = {0};
    const char *page = exposed(ledger, &out);
    says(page, "weir_spans_received_total{receiver=\"grpc\"} 60\n");
    says(page, "weir_spans_refused_total{receiver=\"grpc\",reason=\"invalid\"} 11\n");
    says(page, "weir_spans_refused_total{receiver=\"grpc\",reason=\"memory\"} 12\n");
    says(page, "weir_spans_refused_total{receiver=\"grpc\",reason=\"closing\"} 13\n");
    says(page, "weir_spans_sampled_out_total{exporter=\"\",stage=\"overload\"} 4\n");
    says(page, "weir_spans_sampled_out_total{exporter=\"\",stage=\"collector\"} 6\n");
    says(page, "weir_spans_dropped_total{exporter=\"\",where=\"batch\",reason=\"memory\"} 1\n");
    says(page, "weir_spans_dropped_total{exporter=\"\",where=\"export\",reason=\"no_exporter\"} 0\n");
    says(page, "weir_spans_dropped_total{exporter=\"\",where=\"join\",reason=\"merged\"} 2\n");
    says(page, "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"full\"} 1\n");
    says(page, "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"expired\"} 2\n");
    says(page, "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"rejected\"} 3\n");
    says(page, "weir_spans_dropped_total{exporter=\"file\",where=\"queue\",reason=\"shutdown\"} 4\n");
    says(page, "weir_spans_held{exporter=\"\",where=\"handover\"} 1\n");
    says(page, "weir_spans_held{exporter=\"\",where=\"join\"} 1\n");
    says(page, "weir_spans_held{exporter=\"\",where=\"batch\"} 2\n");
    says(page, "weir_spans_held{exporter=\"file\",where=\"queue\"} 7\n");
    says(page, "weir_spans_held{exporter=\"file\",where=\"exporter\"} 5\n");
    says(page, "weir_spans_delivered_total{exporter=\"file\"} 8\n");
    says(page, "weir_spans_delivered_total{exporter=\"zipkin/a\"} 29\n");
    says(page, "weir_ledger_imbalance_spans{exporter=\"file\"} 13\n");
    says(page, "weir_ledger_imbalance_spans{exporter=\"zipkin/a\"} 14\n");
    says(page, "weir_points_received_total{receiver=\"statsd\"} 9\n");
    says(page, "weir_points_rejected_total{receiver=\"statsd\",reason=\"stale\"} 2\n");
    says(page, "weir_points_held 1\n");

    weir_buffer_clear(&out);
    weir_ledger_summary(ledger, &out);
    weir_buffer_byte(&out, 0);
    assert_string_equal(
        (const char *)out.bytes,
        "received=60 recovered=0 sampled_out=10 dropped=3 held=4 delivered{file}=8 dropped{file}=10 held{file}=12 "
        "imbalance{file}=13"
        " delivered{zipkin/a}=29 dropped{zipkin/a}=0 held{zipkin/a}=0 imbalance{zipkin/a}=14");

    a.received[WEIR_RECEIVER_GRPC] = 45; /* less than there is: it is below zero, not a large number */
    weir_ledger_publish(ledger, 0, &a);
    weir_ledger_remove_exporter(ledger, "zipkin/a");
    page = exposed(ledger, &out);
    says(page, "weir_ledger_imbalance_spans{exporter=\"file\"} -2\n");
    assert_null(strstr(page, "zipkin/a"));
    weir_ledger_remove_exporter(ledger, "file");
    page = exposed(ledger, &out);
    says(page,
         "weir_ledger_imbalance_spans{exporter=\"\"} 28\n"); /* without exporters the common part is all there is */
    weir_buffer_free(&out);
    weir_ledger_free(ledger);
}

/* Each cell of the balance counts: whichever is off by one, the balance is. */
static void each_cell_is_in_the_balance(void **state) {
    (void)state;
    struct weir_ledger *ledger = weir_ledger_new(1);
    struct weir_queue_row queue = {0};
    struct weir_lane_row row = {0};
    weir_ledger_add_exporter(ledger, "e", read_queue, &queue);
    uint64_t *const lane_cells[] = {&row.received[0],    &row.received[1],  &row.sampled_out[0], &row.sampled_out[1],
                                    &row.sampled_out[2], &row.recovered,    &row.tailed,         &row.decided,
                                    &row.dropped[0],     &row.dropped[1],   &row.dropped[2],     &row.joined,
                                    &row.released,       &row.handed_over,  &row.taken_over,     &row.batched,
                                    &row.fanned_out,     &queue.queued,     &queue.in_flight,    &queue.delivered,
                                    &queue.dropped[0],   &queue.dropped[1], &queue.dropped[2],   &queue.dropped[3]};
    struct weir_buffer out = {0};
    for (size_t i = 0; i < COUNT_OF(lane_cells); i++) {
        bool adds = i < 2 || lane_cells[i] == &row.taken_over || lane_cells[i] == &row.released ||
                    lane_cells[i] == &row.fanned_out || lane_cells[i] == &row.recovered ||
                    lane_cells[i] == &row.decided;
        ++*lane_cells[i];
        weir_ledger_publish(ledger, 0, &row);
        says(exposed(ledger, &out), adds ? "weir_ledger_imbalance_spans{exporter=\"e\"} 1\n"
                                         : "weir_ledger_imbalance_spans{exporter=\"e\"} -1\n");
        --*lane_cells[i];
    }
    weir_ledger_publish(ledger, 0, &row);
    says(exposed(ledger, &out), "weir_ledger_imbalance_spans{exporter=\"e\"} 0\n");
    weir_buffer_free(&out);
    weir_ledger_free(ledger);
}

enum { READS = 400000 };
struct run {
    struct weir_ledger *ledger;
    _Atomic unsigned reads;
    unsigned torn, backward;
};

/* Every cell of the row holds the same number: a reader that sees two has torn it. */
static void publishes_or_reads(void *argument, unsigned index) {
    struct run *run = argument;
    struct weir_lane_row row;
    uint64_t *cells = (uint64_t *)(void *)&row, before = 0;
    size_t count = sizeof row / sizeof *cells;
    if (index == 0) {
        for (uint64_t n = 1; run->reads < READS; n++) { /* as long as somebody reads: tests share few processors */
            for (size_t i = 0; i < count; i++)
                cells[i] = n;
            weir_ledger_publish(run->ledger, 0, &row);
        }
        return;
    }
    while (run->reads < READS) {
        weir_ledger_read(run->ledger, 0, &row);
        run->reads++;
        for (size_t i = 1; i < count; i++)
            run->torn += cells[i] != cells[0];
        run->backward += cells[0] < before;
        before = cells[0];
    }
}

static void a_read_is_never_torn(void **state) {
    (void)state;
    struct run run = {.ledger = weir_ledger_new(1)};
    unit_threads(2, publishes_or_reads, &run);
    assert_int_equal(run.torn, 0);
    assert_int_equal(run.backward, 0);
    weir_ledger_free(run.ledger);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(read_is_what_was_published),
        cmocka_unit_test(every_place_of_a_span),
        cmocka_unit_test(each_cell_is_in_the_balance),
        cmocka_unit_test(a_read_is_never_torn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
