/* A batch as a record of the spool and back: nothing of it may change, whatever it is; and nothing may be believed that
 * only looks like a record. */
#include "tests/unit/spool/records.h"

#include <zstd.h>

enum { UNIX_S = 1700000000 };
static const uint64_t pushed_ns = UNIX_S * 1000000000ull + 123456789;

static struct fixture {
    struct weir_names *names;
    struct weir_spool_writer *writer;
    struct weir_spool_reader *reader;
} f;

static int begin(void **state) {
    (void)state;
    f.names = weir_names_new(65536, 16 << 20);
    f.writer = weir_spool_writer_new(f.names, 1);
    f.reader = weir_spool_reader_new(f.names);
    return f.names == NULL || f.writer == NULL || f.reader == NULL;
}

static int end(void **state) {
    (void)state;
    weir_spool_writer_free(f.writer);
    weir_spool_reader_free(f.reader);
    weir_names_free(f.names);
    return 0;
}

/* Through as many records as it takes; how many that was. */
static uint32_t round_trip(const struct weir_batch *batch) {
    uint32_t records = 0;
    for (uint32_t from = 0, to; from < batch->span_count; from = to, records++) {
        const uint8_t *bytes;
        size_t size;
        struct weir_error err = {0};
        struct weir_spool_record_head head;
        struct weir_batch *again = NULL;
        uint64_t unix_ns = 0;
        to = batch->span_count;
        assert_int_equal(weir_spool_record_write(f.writer, batch, from, &to, pushed_ns + from, &bytes, &size, &err),
                         WEIR_OK);
        assert_true(to > from && to <= batch->span_count && size <= WEIR_LOG_RECORD_MAX);
        assert_int_equal(weir_spool_record_head(bytes, WEIR_SPOOL_RECORD_HEAD_BYTES, &head, &err), WEIR_OK);
        assert_int_equal(head.spans, to - from);
        assert_int_equal(head.unix_ns, pushed_ns + from);
        if (weir_spool_record_read(f.reader, bytes, size, &again, &unix_ns, &err) != WEIR_OK) fail_msg("%s", err.text);
        assert_int_equal(unix_ns, pushed_ns + from);
        assert_same_spans(batch, from, to, again);
        weir_batch_unref(again);
    }
    return records;
}

static void batches_of_all_kinds(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 400; round++) {
        const struct kind_of_batch kind = {.spans = 1 + (uint32_t)(thrown() % 300),
                                           .origins = 1 + (uint32_t)(thrown() % 20),
                                           .operations = 1 + (uint32_t)(thrown() % 40),
                                           .pad_max = chance(3) ? 0 : 1 + (uint32_t)(thrown() % 400),
                                           .origin_max = chance(3) ? 0 : 1 + (uint32_t)(thrown() % 900),
                                           .odd = chance(2)};
        struct weir_batch *batch = make_batch(f.names, &kind);
        assert_int_equal(round_trip(batch), 1);
        weir_batch_unref(batch);
    }
}

static void every_exporter_says_the_same(void **state) {
    (void)state;
    for (uint32_t round = 0; round < 40; round++) {
        const struct kind_of_batch kind = {
            .spans = 1 + (uint32_t)(thrown() % 200), .origins = 1 + (uint32_t)(thrown() % 9), .operations = 9};
        struct weir_batch *batch = make_batch(f.names, &kind), *again;
        const uint8_t *bytes;
        size_t size;
        uint64_t unix_ns;
        uint32_t to = batch->span_count;
        struct weir_error err;
        assert_int_equal(weir_spool_record_write(f.writer, batch, 0, &to, 1, &bytes, &size, &err), WEIR_OK);
        assert_int_equal(weir_spool_record_read(f.reader, bytes, size, &again, &unix_ns, &err), WEIR_OK);
        for (int form = 0; form < FORMS; form++) {
            struct weir_buffer one = {0}, other = {0};
            encode(batch, form, &one);
            encode(again, form, &other);
            assert_int_equal(one.size, other.size);
            assert_memory_equal(one.bytes, other.bytes, one.size);
            weir_buffer_free(&one);
            weir_buffer_free(&other);
        }
        weir_batch_unref(batch);
        weir_batch_unref(again);
    }
}

static void long_bodies_and_huge_origins(void **state) {
    (void)state;
    const struct kind_of_batch kinds[] = {
        {.spans = 40, .origins = 2, .operations = 3, .pad_max = 300000, .odd = true},
        {.spans = 20, .origins = 9, .operations = 3, .origin_max = 2000000},
        {.spans = 3000, .origins = 3000, .operations = 900, .origin_max = 100},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct weir_batch *batch = make_batch(f.names, &kinds[i]);
        round_trip(batch);
        weir_batch_unref(batch);
    }
}

/* 40 MB that do not compress are no single record; all of them come back, each once, in order. */
static void what_is_too_large_for_one_is_several(void **state) {
    (void)state;
    const struct kind_of_batch kind = {.spans = 400, .origins = 1, .operations = 2, .pad_max = 200000};
    struct weir_batch *batch = make_batch(f.names, &kind);
    assert_true(batch->size > 2 * WEIR_LOG_RECORD_MAX);
    assert_true(round_trip(batch) >= 3);
    weir_batch_unref(batch);
}

/* Bodies that compress well are bounded by what they unpack to. */
static void what_unpacks_to_too_much_is_several(void **state) {
    (void)state;
    enum { BODY = 1 << 20, SPANS = 90 };
    struct weir_batch *batch = make_batch(f.names, &(struct kind_of_batch){.spans = 1, .origins = 1, .operations = 1});
    struct weir_span span = batch->spans[0];
    weir_batch_truncate(batch, 0, 0);
    assert_int_equal(weir_batch_room(batch, (size_t)BODY * SPANS), WEIR_OK);
    memset(batch->bytes, 'x', (size_t)BODY * SPANS);
    for (uint32_t i = 0; i < SPANS; i++) {
        span.offset = i * BODY;
        span.size = BODY;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    batch->size = (size_t)BODY * SPANS;
    assert_int_equal(round_trip(batch), 2);
    weir_batch_unref(batch);
}

static void more_than_65535_rows_are_two_records(void **state) {
    (void)state;
    const struct kind_of_batch kind = {.spans = 1, .origins = 1, .operations = 1};
    struct weir_batch *batch = make_batch(f.names, &kind);
    struct weir_span span = batch->spans[0];
    for (uint32_t i = 1; i < 70000; i++) {
        span.http_status = (uint16_t)i;
        span.status = i >= 65536;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    assert_int_equal(round_trip(batch), 2);
    weir_batch_unref(batch);
}

static void one_span_that_no_record_holds(void **state) {
    (void)state;
    struct weir_batch *batch = make_batch(f.names, &(struct kind_of_batch){.spans = 3, .origins = 1, .operations = 1});
    size_t large = WEIR_LOG_RECORD_MAX + 1000u;
    assert_int_equal(weir_batch_room(batch, large), WEIR_OK);
    struct weir_span *span = &batch->spans[1];
    span->offset = (uint32_t)batch->size;
    span->size = (uint32_t)large;
    for (size_t i = 0; i < large; i++)
        batch->bytes[batch->size + i] = (uint8_t)thrown();
    batch->size += large;
    const uint8_t *bytes;
    size_t size;
    struct weir_error err;
    uint32_t to = 3;
    assert_int_equal(weir_spool_record_write(f.writer, batch, 0, &to, 1, &bytes, &size, &err), WEIR_OK);
    assert_int_equal(to, 1);
    to = 3;
    assert_int_equal(weir_spool_record_write(f.writer, batch, 1, &to, 1, &bytes, &size, &err), WEIR_INVALID);
    assert_int_equal(to, 3);
    assert_non_null(strstr(err.text, "too large"));
    assert_int_equal(weir_spool_record_write(f.writer, batch, 2, &to, 1, &bytes, &size, &err), WEIR_OK);
    weir_batch_unref(batch);
}

/* ---- what is no record ---- */

static enum weir_status read(const uint8_t *bytes, size_t size, char *why) {
    struct weir_batch *batch = NULL;
    struct weir_error err = {0};
    uint64_t unix_ns;
    uint8_t *copy = malloc(size + 1); /* of its size, so that a sanitizer sees what goes past it */
    memcpy(copy, bytes, size);
    enum weir_status status = weir_spool_record_read(f.reader, copy, size, &batch, &unix_ns, &err);
    assert_true((status == WEIR_OK) == (batch != NULL));
    if (why != NULL) strcpy(why, err.text);
    weir_batch_unref(batch);
    free(copy);
    return status;
}

static size_t a_record(uint8_t *out, size_t room) {
    struct weir_batch *batch = make_batch(
        f.names, &(struct kind_of_batch){
                     .spans = 12, .origins = 2, .operations = 3, .pad_max = 30, .origin_max = 40, .odd = true});
    const uint8_t *bytes;
    size_t size;
    struct weir_error err;
    uint32_t to = 12;
    assert_int_equal(weir_spool_record_write(f.writer, batch, 0, &to, 1, &bytes, &size, &err), WEIR_OK);
    assert_true(size <= room);
    memcpy(out, bytes, size);
    weir_batch_unref(batch);
    return size;
}

static void torn_and_flipped(void **state) {
    (void)state;
    uint8_t record[8192];
    size_t size = a_record(record, sizeof record);
    assert_int_equal(read(record, size, NULL), WEIR_OK);
    for (size_t left = 0; left < size; left++)
        assert_int_equal(read(record, left, NULL), WEIR_INVALID);
    record[size] = 0;
    assert_int_equal(read(record, size + 1, NULL), WEIR_INVALID);
    for (size_t bit = 0; bit < 8 * size; bit++) { /* some are in a body and change only that: the log has the sum */
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
        read(record, size, NULL);
        record[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

static void another_version(void **state) {
    (void)state;
    uint8_t record[8192];
    char why[160];
    size_t size = a_record(record, sizeof record);
    record[0]++;
    assert_int_equal(read(record, size, why), WEIR_INVALID);
    assert_string_equal(why, "version 2 of a record, not 1");
}

/* A head may say what it likes: memory is bounded by a sum, and looked at before any is asked for. */
static void a_head_that_lies(void **state) {
    (void)state;
    uint8_t record[8192];
    size_t size = a_record(record, sizeof record);
    static const uint32_t lies[] = {0, 1, 11, 13, 1000, 1 << 20, 1 << 26, 0x7fffffff, 0xffffffff};
    for (size_t at = 4; at < WEIR_SPOOL_RECORD_HEAD_BYTES; at += 4) {
        if (at == 8 || at == 12) continue; /* the time */
        for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
            uint32_t truth;
            memcpy(&truth, record + at, 4);
            memcpy(record + at, &lies[i], 4);
            assert_int_equal(read(record, size, NULL), WEIR_INVALID);
            memcpy(record + at, &truth, 4);
        }
    }
}

/* A record of a plain index and bodies, sealed as a writer would. */
static size_t seal(uint8_t *out, size_t room, uint32_t spans, const uint8_t *index, size_t index_size) {
    size_t frame =
        ZSTD_compress(out + WEIR_SPOOL_RECORD_HEAD_BYTES, room - WEIR_SPOOL_RECORD_HEAD_BYTES, index, index_size, 1);
    size_t at = WEIR_SPOOL_RECORD_HEAD_BYTES + frame;
    uint32_t head[] = {1, spans, 0, 0, (uint32_t)index_size, 0, (uint32_t)frame};
    memcpy(out, head, sizeof head);
    return at + ZSTD_compress(out + at, room - at, "", 0, 1);
}

static void an_index_that_lies(void **state) {
    (void)state;
    struct said {
        uint32_t counts[4];
        uint32_t origin_sizes[4];
        uint8_t row[36];
        uint16_t row_of, size_of;
        uint64_t extras[10];
    } __attribute__((packed));
    struct said good = {.counts = {1, 0, 1, 10}};
    good.row[18] = 0xfe, good.row[19] = 1;  /* every extra but the size's */
    memset(good.row + 24, 0xff, 10);        /* nothing stands in the body */
    good.extras[9] = 0x3ff0000000000000ull; /* prior 1.0 */
    good.counts[3] = 9;
    memmove(&good.extras[8], &good.extras[9], 8);
    size_t size = sizeof good - 8;
    uint8_t record[4096];
    char why[160];
    assert_int_equal(read(record, seal(record, sizeof record, 1, (uint8_t *)&good, size), why), WEIR_OK);
    static const struct lie {
        size_t at;
        uint32_t value, bytes;
        const char *why;
    } lies[] = {
        {0, 0, 4, "index"},
        {0, 2, 4, "index"},
        {0, 70000, 4, "index"},
        {4, 1, 4, "index"},
        {4, 0x7fffffff, 4, "index"},
        {8, 0, 4, "index"},
        {8, 2, 4, "index"},
        {12, 8, 4, "index"},
        {12, 0xffffffff, 4, "index"},
        {16, 1, 4, "an origin is torn"},
        {16, 0xffffffff, 4, "an origin is torn"},
        {32, 1, 4, "a row"},      /* an operation that is not there */
        {36, 1, 4, "a row"},      /* a peer */
        {40, 1, 4, "a row"},      /* a service */
        {44, 1, 2, "a row"},      /* an origin */
        {50, 1 << 9, 2, "a row"}, /* an extra */
        {52, 6, 1, "a row"},      /* a kind */
        {53, 3, 1, "a row"},      /* a status */
        {54, WEIR_RECEIVERS, 1, "a row"},
        {56, 0, 2, "a body is torn"}, /* a trace id in an empty body */
        {58, 8, 2, "a body is torn"},
        {60, 0xfffe, 2, "a body is torn"},
        {68, 1, 2, "has no row"},
        {70, 1, 2, "a body is torn"},
        {50, 0x1ff, 2, "extras are torn"},
        {50, 0xfe, 2, "behind the last span"},
        {72 + 8 * 6 + 7, 1, 1, "not sound"}, /* a threshold of 2^56 */
        {72 + 8 * 7 + 7, 1, 1, "not sound"}, /* a randomness */
        {72 + 8 * 8 + 6, 0x7ff0, 2, "not sound"},
        {72 + 8 * 8 + 6, 0xbff0, 2, "not sound"},
        {72 + 8 * 8 + 6, 0, 2, "not sound"},
    };
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        struct said said = good;
        memcpy((uint8_t *)&said + lies[i].at, &lies[i].value, lies[i].bytes);
        assert_int_equal(read(record, seal(record, sizeof record, 1, (uint8_t *)&said, size), why), WEIR_INVALID);
        if (strstr(why, lies[i].why) == NULL) fail_msg("lie %zu: \"%s\", not \"%s\"", i, why, lies[i].why);
    }
}

static void a_resource_that_is_not_sound(void **state) {
    (void)state;
    struct weir_batch *batch = make_batch(f.names, &(struct kind_of_batch){.spans = 1, .operations = 1, .origins = 1});
    struct weir_origins *table = weir_origins_new(1);
    struct weir_origin_parts parts = {.resource = (const uint8_t *)"\x0a\xff", .resource_size = 2};
    int is_new;
    struct weir_origin *bad = weir_origins_get(table, &parts, &is_new);
    assert_int_equal(weir_batch_add_origin(batch, bad, &batch->spans[0].origin), WEIR_OK);
    const uint8_t *bytes;
    size_t size;
    struct weir_error err;
    uint32_t to = 1;
    char why[160];
    assert_int_equal(weir_spool_record_write(f.writer, batch, 0, &to, 1, &bytes, &size, &err), WEIR_OK);
    assert_int_equal(read(bytes, size, why), WEIR_INVALID);
    assert_string_equal(why, "a resource or scope is not sound");
    weir_origin_unref(bad);
    weir_origins_free(table);
    weir_batch_unref(batch);
}

static void the_type_of_a_record(void **state) {
    (void)state;
    uint32_t type = weir_spool_record_type(8192);
    assert_int_equal(weir_spool_record_kind(type), WEIR_SPOOL_RECORD_KIND);
    assert_int_equal(weir_spool_record_spans(type), 8192);
    assert_int_equal(weir_spool_record_spans(weir_spool_record_type(WEIR_SPOOL_RECORD_SPANS_MAX)),
                     WEIR_SPOOL_RECORD_SPANS_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_of_all_kinds, begin, end),
        cmocka_unit_test_setup_teardown(every_exporter_says_the_same, begin, end),
        cmocka_unit_test_setup_teardown(long_bodies_and_huge_origins, begin, end),
        cmocka_unit_test_setup_teardown(what_is_too_large_for_one_is_several, begin, end),
        cmocka_unit_test_setup_teardown(what_unpacks_to_too_much_is_several, begin, end),
        cmocka_unit_test_setup_teardown(more_than_65535_rows_are_two_records, begin, end),
        cmocka_unit_test_setup_teardown(one_span_that_no_record_holds, begin, end),
        cmocka_unit_test_setup_teardown(torn_and_flipped, begin, end),
        cmocka_unit_test_setup_teardown(another_version, begin, end),
        cmocka_unit_test_setup_teardown(a_head_that_lies, begin, end),
        cmocka_unit_test_setup_teardown(an_index_that_lies, begin, end),
        cmocka_unit_test_setup_teardown(a_resource_that_is_not_sound, begin, end),
        cmocka_unit_test(the_type_of_a_record),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
