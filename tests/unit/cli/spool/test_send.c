/* Batches through an exporter that does as it is told; time is the test's own. */
#include "collector/cli/spool/send.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SENDS_MAX = 256 };

static struct fake {
    uint64_t now_ns;
    struct {
        struct weir_ticket *ticket; /* NULL: settled */
        uint32_t id;                /* spans of the batch */
        uint64_t at_ns;
    } sends[SENDS_MAX];
    unsigned count, open, most, refuse; /* so many answers are RETRY first */
    enum weir_settlement how;
    uint32_t settled_spans, rejected_spans;
    uint64_t retry_after_ns;
    bool silent; /* answers nothing until it is closed */
    /* what was told */
    uint64_t delivered, rejected, left, marks;
} fake;

static volatile sig_atomic_t stop;

static uint64_t fake_now(void *self) {
    (void)self;
    return fake.now_ns;
}

static enum weir_status fake_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    (void)env;
    if (strcmp(config->name, "bad") == 0) return weir_fail(err, WEIR_INVALID, 0, false, "fake: no");
    *self = &fake;
    return WEIR_OK;
}

static void fake_settle(unsigned i, enum weir_settlement how) {
    struct weir_ticket *ticket = fake.sends[i].ticket;
    fake.sends[i].ticket = NULL;
    fake.open--;
    if (fake.settled_spans > 0) ticket->settled_spans = fake.settled_spans;
    if (fake.rejected_spans > 0) ticket->rejected_spans = fake.rejected_spans;
    ticket->settle(ticket, how, how == WEIR_RETRY ? fake.retry_after_ns : 0, "the fake says so");
}

static void fake_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    (void)self;
    assert_true(fake.count < SENDS_MAX);
    fake.sends[fake.count].ticket = ticket;
    fake.sends[fake.count].at_ns = fake.now_ns;
    fake.sends[fake.count++].id = batch->span_count;
    fake.open++;
    if (fake.open > fake.most) fake.most = fake.open;
}

/* Answers the oldest, after 10 ms. */
static void fake_drive(void *self, int timeout_ms) {
    (void)self;
    if (timeout_ms == 0) return;
    fake.now_ns += 10 * WEIR_MS;
    for (unsigned i = 0; !fake.silent && i < fake.count; i++) {
        if (fake.sends[i].ticket == NULL) continue;
        bool refuse = fake.refuse > 0;
        fake.refuse -= refuse;
        fake_settle(i, refuse ? WEIR_RETRY : fake.how);
        return;
    }
}

static void fake_wake(void *self) {
    (void)self;
}

static void fake_close(void *self) {
    (void)self;
    for (unsigned i = 0; i < fake.count; i++) {
        if (fake.sends[i].ticket != NULL) fake_settle(i, WEIR_RETRY);
    }
}

static const struct weir_exporter exporter = {
    .type = "fake", .open = fake_open, .send = fake_send, .drive = fake_drive, .wake = fake_wake, .close = fake_close};

static void on_settled(void *self, uint64_t mark, uint32_t delivered, uint32_t rejected, uint32_t left) {
    (void)self;
    fake.delivered += delivered;
    fake.rejected += rejected;
    fake.left += left;
    fake.marks += mark;
}

static void on_pause(void *self, uint64_t ns) {
    (void)self;
    fake.now_ns += ns;
}

static struct weir_send *begin(double rate) {
    static struct weir_exporter_config config = {.type = "fake", .name = "fake", .max_in_flight = 4};
    static struct weir_clock clock;
    clock = weir_clock_system;
    clock.mono_ns = fake_now;
    stop = 0;
    fake = (struct fake){.now_ns = 1000 * WEIR_S, .how = WEIR_DELIVERED};
    const struct weir_send_options options = {.exporter = &exporter,
                                              .config = &config,
                                              .env = {.clock = &clock},
                                              .spans_per_second = rate,
                                              .patience_ns = 60 * WEIR_S,
                                              .settled = on_settled,
                                              .pause = on_pause,
                                              .stop = &stop};
    struct weir_send *send = NULL;
    struct weir_error err;
    assert_int_equal(weir_send_open(&send, &options, &err), WEIR_OK);
    return send;
}

static bool give(struct weir_send *send, uint32_t spans) {
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    for (uint32_t i = 0; i < spans; i++)
        assert_int_equal(weir_batch_add(batch, &(struct weir_span){.span_id = i + 1}), WEIR_OK);
    bool sent = weir_send_batch(send, batch, spans);
    weir_batch_unref(batch);
    return sent;
}

static void all_get_through_in_order(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    for (uint32_t spans = 1; spans <= 20; spans++)
        assert_true(give(send, spans));
    weir_send_finish(send);
    assert_int_equal(fake.count, 20);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(fake.sends[i].id, i + 1);
    assert_int_equal(fake.most, 4);
    assert_int_equal(fake.delivered, 210);
    assert_int_equal(fake.marks, 210);
    assert_int_equal(weir_send_counts(send)->delivered, 210);
    weir_send_close(send);
}

static void what_is_refused_is_sent_again(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    fake.refuse = 6;
    for (uint32_t spans = 1; spans <= 10; spans++)
        assert_true(give(send, spans));
    weir_send_finish(send);
    assert_int_equal(fake.count, 16);
    assert_int_equal(fake.delivered, 55);
    assert_int_equal(fake.left, 0);
    assert_string_equal(weir_send_counts(send)->left_why, "the fake says so");
    weir_send_close(send);
}

static void who_asks_to_wait_is_waited_for(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    fake.refuse = 1;
    fake.retry_after_ns = 7 * WEIR_S;
    assert_true(give(send, 3));
    weir_send_finish(send);
    assert_int_equal(fake.count, 2);
    assert_true(fake.sends[1].at_ns - fake.sends[0].at_ns >= 7 * WEIR_S);
    weir_send_close(send);
}

static void rejected_as_a_whole_and_in_part(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    fake.how = WEIR_REJECTED;
    assert_true(give(send, 5));
    weir_send_finish(send);
    assert_int_equal(fake.rejected, 5);
    assert_string_equal(weir_send_counts(send)->rejected_why, "the fake says so");
    weir_send_close(send);
    send = begin(0);
    fake.rejected_spans = 2;
    assert_true(give(send, 5));
    weir_send_finish(send);
    assert_int_equal(fake.rejected, 2);
    assert_int_equal(fake.delivered, 3);
    weir_send_close(send);
    send = begin(0);
    fake.how = WEIR_REJECTED;
    fake.settled_spans = 4;
    fake.rejected_spans = 1;
    assert_true(give(send, 6));
    weir_send_finish(send);
    assert_int_equal(fake.delivered, 3);
    assert_int_equal(fake.rejected, 3); /* one before, two now */
    weir_send_close(send);
}

static void nobody_answers(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    fake.silent = true;
    uint64_t began = fake.now_ns;
    uint32_t given = 0;
    while (give(send, 10) && given < 100)
        given++;
    assert_int_equal(given, 4);
    assert_true(fake.now_ns - began >= 60 * WEIR_S && fake.now_ns - began < 62 * WEIR_S);
    assert_false(give(send, 10));
    weir_send_finish(send);
    assert_int_equal(fake.delivered, 0);
    assert_int_equal(fake.left, 60); /* four under way, and two that were not taken */
    weir_send_close(send);
}

/* Part of it got through before the end: that part is delivered. */
static void what_was_settled_of_a_batch_counts(void **state) {
    (void)state;
    struct weir_send *send = begin(0);
    fake.silent = true;
    fake.settled_spans = 6;
    fake.rejected_spans = 1;
    assert_true(give(send, 10));
    stop = 1;
    assert_false(give(send, 10) && give(send, 10) && give(send, 10) && give(send, 10));
    weir_send_finish(send);
    assert_int_equal(fake.delivered, 5 * (fake.count));
    assert_int_equal(fake.rejected, fake.count);
    weir_send_close(send);
}

static void a_rate_is_kept(void **state) {
    (void)state;
    struct weir_send *send = begin(100);
    for (int i = 0; i < 10; i++)
        assert_true(give(send, 50));
    weir_send_finish(send);
    for (unsigned i = 1; i < fake.count; i++) {
        uint64_t apart = fake.sends[i].at_ns - fake.sends[0].at_ns;
        assert_true(apart >= i * WEIR_S / 2 && apart < i * WEIR_S / 2 + WEIR_S / 5);
    }
    /* Longer than anybody has patience for, and nobody failed. */
    assert_true(give(send, 1) == false); /* after finish it is over */
    weir_send_close(send);
    send = begin(1);
    assert_true(give(send, 300));
    assert_true(give(send, 1));
    weir_send_finish(send);
    assert_int_equal(fake.delivered, 301);
    weir_send_close(send);
}

static void an_exporter_that_says_no(void **state) {
    (void)state;
    struct weir_send *send = NULL;
    struct weir_error err;
    const struct weir_exporter_config config = {.type = "fake", .name = "bad"};
    assert_int_equal(weir_send_open(&send, &(struct weir_send_options){.exporter = &exporter, .config = &config}, &err),
                     WEIR_INVALID);
    assert_null(send);
    weir_send_close(send);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_get_through_in_order),
        cmocka_unit_test(what_is_refused_is_sent_again),
        cmocka_unit_test(who_asks_to_wait_is_waited_for),
        cmocka_unit_test(rejected_as_a_whole_and_in_part),
        cmocka_unit_test(nobody_answers),
        cmocka_unit_test(what_was_settled_of_a_batch_counts),
        cmocka_unit_test(a_rate_is_kept),
        cmocka_unit_test(an_exporter_that_says_no),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
