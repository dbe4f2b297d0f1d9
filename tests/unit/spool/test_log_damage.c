/* What damage of its files costs a log: the record that it is in, or the part of the segment behind it, and it is told.
 */
#include "tests/unit/spool/log_rig.h"

/* ---- damage: one row each; the records are a (30 bytes), b (2000), c (30) in one segment ---- */

enum {
    A = WEIR_LOG_HEADER_BYTES,
    B = A + WEIR_LOG_HEAD_BYTES + 30,
    C = B + WEIR_LOG_HEAD_BYTES + 2000,
    END = C + WEIR_LOG_HEAD_BYTES + 30
};

static const struct damage {
    const char *name;
    int flip;    /* a byte of this offset; 0 = none, for the header's first byte -1 */
    int cut;     /* the file to this size; 0 = not */
    int zero_at; /* zeros from here to the end (of a file as long as it was); 0 = not */
    const char *want, *why;
    int bad_at;
} damages[] = {
    {"nothing", 0, 0, 0, "a b c", NULL, 0},
    {"mark of the first", A, 0, 0, "b c", "damaged head", A},
    {"type", B + 4, 0, 0, "a c", "damaged head", B},
    {"size, low byte", B + 8, 0, 0, "a c", "damaged head", B},
    {"size, high byte", B + 11, 0, 0, "a c", "damaged head", B},
    {"check of the head", B + 12, 0, 0, "a c", "damaged head", B},
    {"checksum", B + 16, 0, 0, "a c", "checksum", B},
    {"payload, first byte", B + 24, 0, 0, "a c", "checksum", B},
    {"payload, last byte", C - 1, 0, 0, "a c", "checksum", B},
    {"payload of the last", END - 1, 0, 0, "a b", "checksum", C},
    {"header's magic", -1, 0, 0, "a b c", "damaged header", 0},
    {"header's version", 8, 0, 0, "a b c", "damaged header", 0},
    {"header's sum", 24, 0, 0, "a b c", "damaged header", 0},
    {"torn payload", 0, END - 1, 0, "a b", "torn record", C},
    {"torn behind the head", 0, C + WEIR_LOG_HEAD_BYTES, 0, "a b", "torn record", C},
    {"torn head", 0, C + 5, 0, "a b", "torn or damaged end", C},
    {"torn in the middle record", 0, B + 1000, 0, "a", "torn record", B},
    {"cut between records", 0, C, 0, "a b", NULL, 0},
    {"torn header", 0, 7, 0, "", "damaged header", 0},
    {"empty file", 0, -1, 0, "", "damaged header", 0},
    {"zeros for the last", 0, 0, C, "a b", "zeros", C},
    {"zeros from within the last", 0, 0, C + 30, "a b", "checksum", C},
    {"zeros from within a head", 0, 0, B + 6, "a", "damaged end", B},
    {"zeros all over", 0, 0, 1, "", "damaged header", 0},
};

static void damage(void **state) {
    struct fixture *f = *state;
    char path[128];
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const struct damage *one = &damages[i];
        snprintf(f->directory, sizeof f->directory, "%s/%zu", f->folder, i);
        open_log(f);
        put_long(f, "a", 30);
        put_long(f, "b", 2000);
        put_long(f, "c", 30);
        close_log(f);
        open_log(f);
        put(f, "behind"); /* in the next segment: whatever happens to the first, it comes */
        path_of(f, 1, path);
        assert_int_equal(size_of(f, 1), END);
        if (one->flip != 0) flip(f, 1, one->flip < 0 ? 0 : one->flip);
        if (one->cut != 0) assert_int_equal(truncate(path, one->cut < 0 ? 0 : one->cut), 0);
        if (one->zero_at != 0) {
            assert_int_equal(truncate(path, one->zero_at), 0);
            assert_int_equal(truncate(path, END), 0);
        }
        struct weir_log_stats stats = reopen(f);
        char want[64];
        snprintf(want, sizeof want, "%s%sbehind", one->want, one->want[0] == 0 ? "" : " ");
        if (one->why == NULL) {
            if (f->broken_count != 0) fail_msg("%s: %s at %d", one->name, f->broken[0].why, (int)f->broken[0].offset);
            assert_int_equal(stats.bytes_bad, 0);
        } else {
            if (f->broken_count == 0 || strstr(f->broken[0].why, one->why) == NULL) {
                fail_msg("%s: %zu broken, \"%s\"", one->name, f->broken_count, f->broken[0].why);
            }
            assert_string_equal(f->broken[0].file, "00000001.log");
            if ((int)f->broken[0].offset != one->bad_at) {
                fail_msg("%s: at %d", one->name, (int)f->broken[0].offset);
            }
            assert_true(stats.bytes_bad > 0 || size_of(f, 1) == 0);
        }
        assert_seen(f, want);
        close_log(f);
    }
}

/* Every byte of a segment flipped in turn costs one record at most. */
static void every_single_flip(void **state) {
    struct fixture *f = *state;
    open_log(f);
    put_long(f, "a", 30);
    put_long(f, "b", 50);
    put_long(f, "c", 30);
    close_log(f);
    off_t end = size_of(f, 1);
    assert_int_equal(end, 32 + 3 * 24 + 110);
    for (off_t at = 0; at < end; at++) {
        flip(f, 1, at);
        open_log(f);
        replay(f);
        assert_int_equal(f->seen_count, at < 32 ? 3 : 2);
        assert_int_equal(f->broken_count, 1);
        close_log(f);
        flip(f, 1, at);
    }
    for (off_t at = end; at > 0; at--) { /* and torn at every byte: what is whole before it comes */
        char path[128];
        path_of(f, 1, path);
        assert_int_equal(truncate(path, at), 0);
        open_log(f);
        replay(f);
        assert_int_equal(f->seen_count, at == end ? 3 : at >= 32 + 48 + 80 ? 2 : at >= 32 + 24 + 30 ? 1 : 0);
        close_log(f);
    }
}

static void rewrite(struct fixture *f, uint64_t number, off_t offset, const void *bytes, size_t size) {
    char path[128];
    path_of(f, number, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, bytes, size, offset), size);
    close(fd);
}

static void another_version_is_left_alone(void **state) {
    struct fixture *f = *state;
    uint8_t header[WEIR_LOG_HEADER_BYTES];
    const uint32_t version = 2;
    open_log(f);
    put(f, "one");
    close_log(f);
    weir_log_write_header(header, 1);
    memcpy(header + 8, &version, 4);
    /* its sum, by the same rule */
    uint8_t other[WEIR_LOG_HEADER_BYTES];
    memcpy(other, header, sizeof other);

    uint64_t sum = XXH3_64bits(other, 24);
    memcpy(header + 24, &sum, 8);
    rewrite(f, 1, 0, header, sizeof header);
    open_log(f);
    put(f, "two");
    reopen(f);
    assert_seen(f, "two");
    assert_string_equal(f->broken[0].why, "format version 2, this reads 1");
    assert_true(size_of(f, 1) > 0);
}

static void a_head_that_asks_too_much(void **state) {
    struct fixture *f = *state;
    uint8_t head[WEIR_LOG_HEAD_BYTES];
    open_log(f);
    put_long(f, "a", 30);
    put_long(f, "b", 2000);
    put_long(f, "c", 30);
    close_log(f);
    /* sound in itself, and 3 GiB long */
    weir_log_write_head(head, 1, B, 7, "", 0);
    const uint32_t size = 3u << 30;
    memcpy(head + 8, &size, 4);

    uint32_t check = (uint32_t)XXH3_64bits_withSeed(head, 12, 1ull << 32 | B);
    memcpy(head + 12, &check, 4);
    rewrite(f, 1, B, head, sizeof head);
    open_log(f);
    replay(f);
    assert_seen(f, "a c");
    assert_string_equal(f->broken[0].why, "record larger than 16 MiB");
}

/* What looks like a record inside a payload is none, even when the record around it is damaged. */
static void records_inside_records(void **state) {
    struct fixture *f = *state;
    uint8_t inner[WEIR_LOG_HEAD_BYTES + 6];
    weir_log_write_head(inner, 1, A, 7, "forged", 6); /* as it would stand at A; it stands elsewhere */
    memcpy(inner + WEIR_LOG_HEAD_BYTES, "forged", 6);
    open_log(f);
    put_bytes(f, 7, inner, sizeof inner);
    put(f, "next");
    close_log(f);
    flip(f, 1, A);
    open_log(f);
    replay(f);
    assert_seen(f, "next");
}

static void a_missing_segment_is_told(void **state) {
    struct fixture *f = *state;
    char path[128];
    for (int i = 0; i < 3; i++) {
        open_log(f);
        put(f, i == 0 ? "one" : i == 1 ? "two" : "three");
        close_log(f);
    }
    path_of(f, 2, path);
    assert_int_equal(unlink(path), 0);
    rewrite(f, 77, 0, "no log", 6); /* and files that are no segments of ours */
    snprintf(path, sizeof path, "%s/1.log", f->directory);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    open_log(f);
    replay(f);
    assert_seen(f, "one three");
    assert_string_equal(f->broken[0].why, "segments before it are missing");
    assert_string_equal(f->broken[0].file, "00000003.log");
    assert_int_equal(put(f, "next"), 78);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(damage, setup, teardown),
        cmocka_unit_test_setup_teardown(every_single_flip, setup, teardown),
        cmocka_unit_test_setup_teardown(another_version_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_head_that_asks_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(records_inside_records, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_segment_is_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
