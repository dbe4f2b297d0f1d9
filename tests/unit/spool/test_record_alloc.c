/* Memory that is not there: whichever request for it fails, writing and reading say so, give nothing out, lose nothing
 * of theirs, and work again when there is some. */
#include "tests/unit/failing_malloc.h"
#include "tests/unit/spool/records.h"

/* 3,000 rows that are nearly all of their own, names and origins: every table grows. The second record is of few spans
 * behind one of many. */
static enum weir_status there_and_back(struct weir_names *names, const struct weir_batch *batch,
                                       struct weir_batch **again, uint32_t *to, struct weir_error *err) {
    enum weir_status status = WEIR_FULL;
    const uint8_t *bytes;
    size_t size;
    uint64_t unix_ns;
    struct weir_spool_writer *writer = weir_spool_writer_new(names, 1);
    struct weir_spool_reader *reader = weir_spool_reader_new(names);
    if (writer != NULL && reader != NULL) {
        status = weir_spool_record_write(writer, batch, 0, to, 1, &bytes, &size, err);
        if (status == WEIR_OK) {
            *to = 10;
            status = weir_spool_record_write(writer, batch, 5, to, 1, &bytes, &size, err);
        }
        if (status == WEIR_OK) status = weir_spool_record_read(reader, bytes, size, again, &unix_ns, err);
    }
    weir_spool_writer_free(writer);
    weir_spool_reader_free(reader);
    return status;
}

static void every_request_fails_once(void **state) {
    (void)state;
    if (!OWN_MALLOC) skip();
    struct weir_names *names = weir_names_new(65536, 16 << 20);
    const struct kind_of_batch kind = {
        .spans = 3000, .origins = 100, .operations = 2500, .origin_max = 50, .pad_max = 10, .odd = true};
    struct weir_batch *batch = make_batch(names, &kind);
    uint64_t failed = 0;
    for (failing = 1;; failing++) {
        struct weir_batch *again = NULL;
        struct weir_error err = {0};
        uint32_t to = batch->span_count;
        requests = 0;
        inside = true;
        enum weir_status status = there_and_back(names, batch, &again, &to, &err);
        inside = false;
        if (status == WEIR_OK) { /* the origin's table may do without; or there was no such request any more */
            assert_same_spans(batch, 5, 10, again);
            weir_batch_unref(again);
            if (requests < failing) break;
            continue;
        }
        assert_int_equal(status, WEIR_FULL);
        assert_null(again);
        failed++;
    }
    assert_true(failed > 30);
    weir_batch_unref(batch);
    weir_names_free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_request_fails_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
