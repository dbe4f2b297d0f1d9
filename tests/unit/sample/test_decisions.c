/* The memory of decisions: what it finds, what makes room, how it is resized, and the file that carries it over a
 * restart. */
#include "collector/sample/decisions.h"
#include "tests/unit/core/unit.h"

#include "collector/core/span.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static const struct weir_verdict dropped = {.kept = false};

/* Well spread, as trace ids are; never 0. Finaliser of SplitMix64. */
static uint64_t id_of(uint64_t i) {
    uint64_t z = (i + 1) * 0x9e3779b97f4a7c15ull;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static enum weir_remembered find(const struct weir_decisions *decisions, uint64_t hi, uint64_t lo) {
    struct weir_verdict verdict;
    return weir_decisions_find(decisions, hi, lo, &verdict);
}

static void what_was_put_is_found(void **state) {
    (void)state;
    struct weir_decisions *decisions = weir_decisions_new(1 << 20, 1);
    for (uint64_t i = 0; i < 4000; i++) {
        struct weir_verdict verdict = {.kept = i % 4 == 0, .rule_name = (uint32_t)i, .threshold = i << 8, .rule = 3};
        weir_decisions_put(decisions, 9, id_of(i), &verdict);
    }
    assert_int_equal(weir_decisions_kept(decisions), 1000);
    assert_in_range(weir_decisions_dropped(decisions), 2990, 3000); /* equal fingerprints in one bucket are rare */
    for (uint64_t i = 0; i < 4000; i++) {
        struct weir_verdict verdict = {0};
        enum weir_remembered how = weir_decisions_find(decisions, 9, id_of(i), &verdict);
        assert_int_equal(how, i % 4 == 0 ? WEIR_REMEMBERED_KEPT : WEIR_REMEMBERED_DROPPED);
        if (how != WEIR_REMEMBERED_KEPT) continue;
        assert_true(verdict.kept);
        assert_int_equal(verdict.rule_name, i);
        assert_int_equal(verdict.threshold, i << 8);
        assert_int_equal(verdict.rule, WEIR_RULE_NONE);
    }
    weir_decisions_free(decisions);
}

static void a_half_that_was_cut_matches(void **state) {
    (void)state;
    struct weir_decisions *decisions = weir_decisions_new(1 << 16, 1);
    struct weir_verdict kept = {.kept = true, .threshold = 1}, verdict;
    weir_decisions_put(decisions, 7, 100, &kept);
    weir_decisions_put(decisions, 0, 200, &kept);
    assert_int_equal(find(decisions, 7, 100), WEIR_REMEMBERED_KEPT);
    assert_int_equal(find(decisions, 0, 100), WEIR_REMEMBERED_KEPT);
    assert_int_equal(find(decisions, 8, 100), WEIR_REMEMBERED_NOT);
    assert_int_equal(find(decisions, 8, 200), WEIR_REMEMBERED_KEPT);
    kept.threshold = 2;
    weir_decisions_put(decisions, 0, 100, &kept); /* the same trace: the latest counts, once */
    assert_int_equal(weir_decisions_kept(decisions), 2);
    assert_int_equal(weir_decisions_find(decisions, 7, 100, &verdict), WEIR_REMEMBERED_KEPT);
    assert_int_equal(verdict.threshold, 2);
    weir_decisions_free(decisions);
}

/* The least there can be: one bucket of each. The oldest makes room. */
static void the_oldest_makes_room(void **state) {
    (void)state;
    struct weir_decisions *decisions = weir_decisions_new(0, 1);
    struct weir_verdict kept = {.kept = true};
    for (uint64_t i = 0; i < 20; i++) {
        weir_decisions_put(decisions, 1, id_of(i), &kept);
        weir_decisions_put(decisions, 1, id_of(100 + i), &dropped);
    }
    assert_int_equal(weir_decisions_kept(decisions), 4);
    assert_int_equal(weir_decisions_dropped(decisions), 8);
    for (uint64_t i = 0; i < 20; i++) {
        assert_int_equal(find(decisions, 1, id_of(i)), i < 16 ? WEIR_REMEMBERED_NOT : WEIR_REMEMBERED_KEPT);
        assert_int_equal(find(decisions, 1, id_of(100 + i)), i < 12 ? WEIR_REMEMBERED_NOT : WEIR_REMEMBERED_DROPPED);
    }
    weir_decisions_put(decisions, 1, id_of(112), &dropped); /* again: it is the latest now, and the others stay */
    for (uint64_t i = 20; i < 27; i++)
        weir_decisions_put(decisions, 1, id_of(100 + i), &dropped);
    assert_int_equal(find(decisions, 1, id_of(112)), WEIR_REMEMBERED_DROPPED);
    assert_int_equal(find(decisions, 1, id_of(113)), WEIR_REMEMBERED_NOT);
    assert_int_equal(weir_decisions_dropped(decisions), 8);
    weir_decisions_free(decisions);
}

static void a_trace_never_seen_is_not_taken_for_dropped(void **state) {
    (void)state;
    struct weir_decisions *decisions = weir_decisions_new(4 << 20, 1);
    assert_true(weir_decisions_false_drop_rate(decisions) == 0);
    for (uint64_t i = 0; i < 1000000; i++)
        weir_decisions_put(decisions, 1, id_of(i), &dropped);
    /* What is published is how full the buckets are: here nearly so. */
    double rate = weir_decisions_false_drop_rate(decisions);
    assert_true(rate <= WEIR_DECISIONS_FALSE_DROP_RATE_MAX && rate > 0.8 * WEIR_DECISIONS_FALSE_DROP_RATE_MAX);
    assert_true(weir_decisions_dropped(decisions) > 500000);
    unsigned wrong = 0;
    for (uint64_t i = 0; i < 1000000; i++)
        wrong += find(decisions, 1, id_of(1ull << 40 | i)) != WEIR_REMEMBERED_NOT;
    /* 1e6 x 1.9e-9: one in 500 such tests would see a single one; these ids are always the same. */
    assert_int_equal(wrong, 0);
    assert_true(weir_decisions_memory(decisions) <= (4 << 20) + 4096);
    weir_decisions_free(decisions);
}

static void other_bounds_keep_what_fits(void **state) {
    (void)state;
    struct weir_decisions *decisions = weir_decisions_new(1 << 20, 1);
    struct weir_verdict kept = {.kept = true, .threshold = 77};
    for (uint64_t i = 0; i < 3000; i++)
        weir_decisions_put(decisions, 1, id_of(i), i % 50 == 0 ? &kept : &dropped);
    static const uint64_t bytes[] = {3 << 20, 200 << 10, 1 << 20};
    for (size_t b = 0; b < COUNT_OF(bytes); b++) {
        assert_true(weir_decisions_resize(decisions, bytes[b]));
        assert_true(weir_decisions_memory(decisions) <= bytes[b] + 4096);
        for (uint64_t i = 0; i < 3000; i++)
            assert_int_equal(find(decisions, 1, id_of(i)),
                             i % 50 == 0 ? WEIR_REMEMBERED_KEPT : WEIR_REMEMBERED_DROPPED);
    }
    assert_true(weir_decisions_resize(decisions, 0));
    assert_int_equal(weir_decisions_kept(decisions), 4);
    assert_int_equal(weir_decisions_dropped(decisions), 8);
    weir_decisions_free(decisions);
}

/* ---- the file ---- */

enum { LANES_MAX = 8, TRACES = 5000 };

struct house {
    struct weir_names *names;
    struct weir_decisions *lanes[LANES_MAX];
    uint32_t count;
};

static void open_house(struct house *house, uint32_t lanes, uint64_t bytes) {
    *house = (struct house){.names = weir_names_new(100, 10000), .count = lanes};
    for (uint32_t i = 0; i < lanes; i++)
        house->lanes[i] = weir_decisions_new(bytes, lanes);
}

static void close_house(struct house *house) {
    for (uint32_t i = 0; i < house->count; i++)
        weir_decisions_free(house->lanes[i]);
    weir_names_free(house->names);
}

static void fill(struct house *house) {
    uint32_t name = weir_names_intern(house->names, "errors", 6);
    for (uint64_t i = 0; i < TRACES; i++) {
        struct weir_verdict verdict = {.kept = i % 16 == 0, .threshold = i, .rule_name = i % 32 == 0 ? name : 0};
        uint64_t lo = id_of(i);
        weir_decisions_put(house->lanes[weir_trace_lane(lo, house->count)], 5, lo, &verdict);
    }
}

static unsigned found_in(const struct house *house) {
    unsigned found = 0;
    for (uint64_t i = 0; i < TRACES; i++) {
        uint64_t lo = id_of(i);
        struct weir_verdict verdict = {0};
        enum weir_remembered how =
            weir_decisions_find(house->lanes[weir_trace_lane(lo, house->count)], 5, lo, &verdict);
        if (how != (i % 16 == 0 ? WEIR_REMEMBERED_KEPT : WEIR_REMEMBERED_DROPPED)) continue;
        found++;
        if (i % 16 != 0) continue;
        assert_int_equal(verdict.threshold, i);
        assert_string_equal(weir_names_text(house->names, verdict.rule_name, NULL), i % 32 == 0 ? "errors" : "");
    }
    return found;
}

static char folder[] = "/tmp/weir-decisions-XXXXXX";
static char path[sizeof folder + 16];

static int make_folder(void **state) {
    (void)state;
    strcpy(folder + sizeof folder - 7, "XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    snprintf(path, sizeof path, "%s/decisions", folder);
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    unlink(path);
    return rmdir(folder);
}

static void a_file_carries_it_whatever_the_lanes(void **state) {
    (void)state;
    static const uint32_t lanes[] = {1, 2, 3, 8};
    for (size_t from = 0; from < COUNT_OF(lanes); from++) {
        struct house old;
        struct weir_error err = {0};
        open_house(&old, lanes[from], 1 << 20);
        fill(&old);
        assert_int_equal(found_in(&old), TRACES);
        assert_int_equal(weir_decisions_save(old.lanes, old.count, old.names, path, &err), WEIR_OK);
        close_house(&old);
        for (size_t to = 0; to < COUNT_OF(lanes); to++) {
            struct house new;
            open_house(&new, lanes[to], (to + 1) << 19);
            assert_int_equal(weir_decisions_load(new.lanes, new.count, new.names, path, &err), WEIR_OK);
            assert_int_equal(found_in(&new), TRACES);
            close_house(&new);
        }
    }
}

static void an_empty_memory_is_a_small_file(void **state) {
    (void)state;
    struct house house;
    struct stat st;
    struct weir_error err = {0};
    open_house(&house, 2, 1 << 20);
    assert_int_equal(weir_decisions_save(house.lanes, house.count, house.names, path, &err), WEIR_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_true(st.st_size < (2 << 20) / 32);
    assert_int_equal(weir_decisions_load(house.lanes, house.count, house.names, path, &err), WEIR_OK);
    assert_int_equal(weir_decisions_dropped(house.lanes[0]) + weir_decisions_kept(house.lanes[0]), 0);
    close_house(&house);
}

static void no_file_is_no_error(void **state) {
    (void)state;
    struct house house;
    struct weir_error err = {0};
    open_house(&house, 1, 1 << 16);
    assert_int_equal(weir_decisions_load(house.lanes, 1, house.names, path, &err), WEIR_OK);
    assert_string_equal(err.text, "");
    close_house(&house);
}

static void what_cannot_be_written_says_so(void **state) {
    (void)state;
    struct house house;
    struct weir_error err = {0};
    open_house(&house, 1, 1 << 16);
    assert_int_equal(weir_decisions_save(house.lanes, 1, house.names, "/nowhere/at/all", &err), WEIR_IO);
    assert_non_null(strstr(err.text, "/nowhere/at/all"));
    assert_int_equal(weir_decisions_load(house.lanes, 1, house.names, folder, &err), WEIR_INVALID); /* a directory */
    assert_non_null(strstr(err.text, folder));
    close_house(&house);
}

static size_t slurp(uint8_t *out, size_t max) {
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    size_t size = fread(out, 1, max, file);
    fclose(file);
    return size;
}

static void refused(const uint8_t *bytes, size_t size, const char *reason) {
    struct house house;
    struct weir_error err = {0};
    open_house(&house, 1, 1 << 16);
    enum weir_status status = weir_decisions_read(bytes, size, house.lanes, 1, house.names, &err);
    if (status != WEIR_INVALID || strstr(err.text, reason) == NULL)
        fail_msg("status %d \"%s\", not \"%s\"", status, err.text, reason);
    close_house(&house);
}

static void sign(uint8_t *bytes, size_t size) {
    uint64_t checksum = XXH3_64bits(bytes, size - 8);
    memcpy(bytes + size - 8, &checksum, 8);
}

static void a_wrong_file_is_refused_with_the_reason(void **state) {
    (void)state;
    static uint8_t bytes[1 << 16], broken[1 << 16];
    struct house house;
    struct weir_error err = {0};
    open_house(&house, 1, 8 << 10);
    fill(&house);
    assert_int_equal(weir_decisions_save(house.lanes, 1, house.names, path, &err), WEIR_OK);
    close_house(&house);
    size_t size = slurp(bytes, sizeof bytes);
    assert_in_range(size, 1000, sizeof bytes - 1);

    for (size_t cut = 1; cut < size; cut = cut * 2) {
        refused(bytes, size - cut, size - cut < 20 ? "not a file" : "checksum");
        memcpy(broken, bytes, size);
        broken[size - cut] ^= 0x10;
        refused(broken, size, "checksum");
    }
    refused(bytes, 0, "not a file of decisions");
    memcpy(broken, bytes, size);
    broken[0] = 'w';
    refused(broken, size, "not a file of decisions");

    /* Whole by its checksum, and yet not ours. */
    memcpy(broken, bytes, size);
    broken[4] = 1;
    sign(broken, size);
    refused(broken, size, "of version 1, this Weir reads 2");
    memcpy(broken, bytes, size);
    broken[8] = 2; /* lanes */
    sign(broken, size);
    refused(broken, size, "lane 1 of 2 is not sound");
    memcpy(broken, bytes, size);
    memset(broken + 8, 0xff, 4);
    sign(broken, size);
    refused(broken, size, "lane 0 of 4294967295 is not sound");
    memcpy(broken, bytes, size);
    broken[16] = 9; /* more fingerprints than a bucket has */
    sign(broken, size);
    refused(broken, size, "lane 0 of 1 is not sound");
    memcpy(broken, bytes, size - 8);
    memset(broken + size - 8, 0, 9);
    sign(broken, size + 1);
    refused(broken, size + 1, "more behind its 1 lanes");

    /* And through the file, with its name. */
    FILE *file = fopen(path, "wb");
    assert_int_equal(fwrite(bytes, 1, size - 1, file), size - 1);
    fclose(file);
    open_house(&house, 1, 1 << 16);
    assert_int_equal(weir_decisions_load(house.lanes, 1, house.names, path, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, path));
    assert_non_null(strstr(err.text, "checksum is wrong"));
    assert_int_equal(weir_decisions_dropped(house.lanes[0]), 0);
    close_house(&house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_was_put_is_found),
        cmocka_unit_test(a_half_that_was_cut_matches),
        cmocka_unit_test(the_oldest_makes_room),
        cmocka_unit_test(a_trace_never_seen_is_not_taken_for_dropped),
        cmocka_unit_test(other_bounds_keep_what_fits),
        cmocka_unit_test_setup_teardown(a_file_carries_it_whatever_the_lanes, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(an_empty_memory_is_a_small_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(no_file_is_no_error, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_says_so, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_wrong_file_is_refused_with_the_reason, make_folder, remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
