/* What the journal is given reads back as it was; bytes that are no record are refused; blocks by themselves. */
#include "collector/sample/sealed.h"
#include "tests/unit/sample/tail_rig.h"

#include <math.h>

#define KEEP "wait: 10s, quiet: 1s, rules: [ { name: errors, when: { error: true } }, { name: rest, rate: 0 } ]"

static struct seen {
    struct weir_span span;
    char operation[64], service[64];
    size_t size;
    uint8_t body[2048];
} * seen;
static uint32_t seen_count;
static struct weir_names *reader_names; /* of another process */

static void see(void *self, struct weir_batch *batch, uint32_t i) {
    assert_ptr_equal(self, &rig);
    assert_true(seen_count < 4096);
    struct seen *one = &seen[seen_count++];
    one->span = batch->spans[i];
    one->size = one->span.size;
    assert_true(one->size <= sizeof one->body);
    memcpy(one->body, batch->bytes + one->span.offset, one->size);
    snprintf(one->operation, sizeof one->operation, "%s", weir_names_text(reader_names, one->span.operation, NULL));
    uint32_t service = batch->origins[one->span.origin]->service;
    assert_int_equal(service, one->span.service);
    snprintf(one->service, sizeof one->service, "%s", weir_names_text(reader_names, service, NULL));
}

static void read_all(bool unreleased_only) {
    struct weir_error err = {0};
    seen = calloc(4096, sizeof *seen);
    seen_count = 0;
    reader_names = weir_names_new(256, 64 * 1024);
    for (uint32_t b = 0; b < rig.block_count; b++) {
        if (unreleased_only && rig.blocks[b].released) continue;
        uint32_t before = seen_count;
        if (weir_tail_read_record(rig.blocks[b].bytes, rig.blocks[b].size, reader_names, see, &rig, &err) != WEIR_OK)
            fail_msg("%s", err.text);
        assert_int_equal(seen_count - before, rig.blocks[b].spans);
    }
}

static void read_done(void) {
    weir_names_free(reader_names);
    free(seen);
}

static void records_read_back_whole(void **state) {
    (void)state;
    static const struct said rows[] = {
        {.trace = 1, .span = 1, .error = true, .operation = "GET /items/12"},
        {.trace = 1, .span = 2, .parent = 1, .service = "other", .threshold = 1ull << 54},
        {.trace = 2, .span = 1, .prior = 7.5},
        {.trace = 2, .span = 2, .parent = 1, .forced = true, .pad = 500},
        {.trace = 3, .span = 2, .parent = 1, .short_id = true, .ms = 1234},
        {.trace = 3, .span = 3, .parent = 1, .short_id = true, .threshold = 77, .prior = 2},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    for (int compress = 0; compress < 2; compress++) {
        char keep[200];
        rig.journalled = true;
        snprintf(keep, sizeof keep, "compress: %s, %s", compress ? "true" : "false", KEEP);
        rig_build(keep, NULL);
        for (uint32_t n = 0; n < ROWS; n++)
            assert_int_equal(rig_take(&rows[n], NULL), WEIR_TAIL_HELD);
        assert_int_equal(rig.block_count, 0);
        weir_tail_seal(rig.tail);
        assert_true(rig.block_count >= 1 && rig.block_count <= 2); /* of the two hot blocks */
        read_all(false);
        assert_int_equal(seen_count, ROWS);
        for (uint32_t n = 0; n < ROWS; n++) {
            struct weir_batch *batch = rig_batch(&rows[n]);
            const struct weir_span *was = &batch->spans[0];
            uint32_t i = 0;
            while (i < seen_count && seen[i].span.span_id != was->span_id)
                i++;
            assert_true(i < seen_count);
            assert_int_equal(seen[i].size, was->size);
            assert_memory_equal(seen[i].body, batch->bytes + was->offset, was->size);
            struct weir_span is = seen[i].span;
            assert_string_equal(seen[i].operation, weir_names_text(rig.names, was->operation, NULL));
            assert_string_equal(seen[i].service, rows[n].service != NULL ? rows[n].service : "shop");
            is.offset = was->offset; /* what is the process's own */
            is.origin = was->origin;
            is.operation = was->operation;
            is.service = was->service;
            is.peer = was->peer;
            assert_memory_equal(&is, was, sizeof is);
            weir_batch_unref(batch);
        }
        read_done();
        rig_pass(20000);
        assert_int_equal(rig.released_count, rig.block_count);
        assert_int_equal(rig.journal_decided, 3);
        rig_close();
    }
}

/* At any moment blocks that are not released, and what is hot, have every span that waits. */
static void what_waits_is_with_the_journal(void **state) {
    (void)state;
    rig.journalled = true;
    rig_build(KEEP, NULL);
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t n = 0; n < 40; n++)
            rig_take(&(struct said){.trace = round * 40 + n, .span = 1, .parent = n % 3 == 0 ? 0 : 9, .pad = 200},
                     NULL);
        rig_pass(700);
        weir_tail_seal(rig.tail);
        read_all(true);
        uint32_t waiting = 0;
        for (uint32_t i = 0; i < (round + 1) * 40; i++) {
            if (rig_fate(rig_lo(i))->times > 0) continue;
            waiting++;
            uint32_t found = 0;
            for (uint32_t s = 0; s < seen_count; s++)
                found += seen[s].span.trace_lo == rig_lo(i);
            assert_int_equal(found, 1);
        }
        assert_int_equal(waiting, weir_tail_held(rig.tail));
        read_done();
    }
    assert_true(rig.released_count > 0);
    rig_close();
}

/* Late spans of a kept trace go through the journal too, and come out at the next tick. */
static void late_spans_are_journalled(void **state) {
    (void)state;
    rig.journalled = true;
    rig_build(KEEP, NULL);
    rig_take(&(struct said){.trace = 1, .span = 1, .error = true}, NULL);
    rig_take(&(struct said){.trace = 2, .span = 1}, NULL);
    rig_pass(1000);
    uint32_t decided = rig.journal_decided;
    assert_int_equal(rig_take(&(struct said){.trace = 1, .span = 2, .parent = 1}, NULL), WEIR_TAIL_HELD);
    assert_int_equal(rig_take(&(struct said){.trace = 2, .span = 2, .parent = 1}, NULL), WEIR_TAIL_DROP);
    weir_tail_seal(rig.tail);
    read_all(true);
    assert_int_equal(seen[seen_count - 1].span.span_id & 0xffffff, 2);
    read_done();
    rig_pass(50);
    assert_int_equal(rig_fate(rig_lo(1))->kept, 2);
    assert_int_equal(rig.journal_decided, decided + 1); /* told again: the segment that had it may be gone */
    rig_close();
}

/* ---- bytes that are none ---- */

static void no_span(void *self, struct weir_batch *batch, uint32_t i) {
    (void)self;
    const struct weir_span *span = &batch->spans[i]; /* whatever came, it is a view that nobody stumbles over */
    assert_true(span->status <= WEIR_STATUS_ERROR && span->receiver < 64 && span->threshold < WEIR_THRESHOLD_MAX);
    assert_true(isfinite(span->prior) && span->prior > 0 && isfinite(weir_span_weight(span)));
    assert_true((uint64_t)span->offset + span->size <= batch->size && span->origin < batch->origin_count);
    assert_true((span->trace_hi | span->trace_lo) != 0);
}

static void broken_records_are_refused(void **state) {
    (void)state;
    struct weir_error err = {0};
    for (int compress = 0; compress < 2; compress++) {
        char keep[200];
        rig.journalled = true;
        snprintf(keep, sizeof keep, "compress: %s, %s", compress ? "true" : "false", KEEP);
        rig_build(keep, NULL);
        for (uint32_t n = 0; n < 10; n++)
            rig_take(&(struct said){.trace = n, .span = 1, .parent = 9, .prior = n % 2 == 0 ? 3 : 0}, NULL);
        weir_tail_seal(rig.tail);
        const struct rig_block *block = &rig.blocks[0];
        uint8_t *bytes = malloc(block->size + 1);
        struct weir_names *names = weir_names_new(256, 64 * 1024);
        for (size_t size = 0; size < block->size; size++) { /* cut */
            memcpy(bytes, block->bytes, size);
            assert_int_equal(weir_tail_read_record(bytes, size, names, no_span, NULL, &err), WEIR_INVALID);
            assert_true(strlen(err.text) > 0);
        }
        memcpy(bytes, block->bytes, block->size);
        bytes[block->size] = 0; /* one more */
        assert_int_equal(weir_tail_read_record(bytes, block->size + 1, names, no_span, NULL, &err), WEIR_INVALID);
        uint32_t refused = 0;
        for (size_t at = 0; at < block->size; at++) { /* flipped: refused, or views that are sound */
            for (int bit = 0; bit < 8; bit++) {
                memcpy(bytes, block->bytes, block->size);
                bytes[at] ^= (uint8_t)(1 << bit);
                enum weir_status status = weir_tail_read_record(bytes, block->size, names, no_span, NULL, &err);
                assert_true(status == WEIR_OK || status == WEIR_INVALID);
                refused += status == WEIR_INVALID;
            }
        }
        assert_true(refused > block->size / 4);
        weir_names_free(names);
        free(bytes);
        rig_close();
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_read_back_whole),
        cmocka_unit_test(what_waits_is_with_the_journal),
        cmocka_unit_test(late_spans_are_journalled),
        cmocka_unit_test(broken_records_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
