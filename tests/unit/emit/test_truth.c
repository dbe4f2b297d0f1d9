/* The totals as a file: JSON that adds up, the same for the same seed, with Weir's own buckets. */
#include "collector/config/config.h"
#include "collector/emit/play.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

static json_t *truth_of(int argc, char **argv, uint64_t now_ns) {
    char path[] = "/tmp/weir-truth-XXXXXX";
    int fd = mkstemp(path);
    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_buffer out = {0};
    struct weir_error err = {0};
    bool help;
    uint32_t spans;
    assert_true(fd >= 0);
    close(fd);
    assert_int_equal(weir_emit_options_parse(argc, argv, &options, &help, &err), WEIR_OK);
    options.truth = path;
    assert_int_equal(weir_emit_play_init(&play, &options, &err), WEIR_OK);
    play.now_ns = now_ns;
    while (weir_emit_play_next(&play, UINT64_MAX, &out, &spans) != WEIR_EMIT_END)
        weir_buffer_clear(&out);
    assert_int_equal(weir_emit_truth_write(&play.truth, &options, &err), WEIR_OK);
    json_error_t where;
    json_t *root = json_load_file(path, 0, &where);
    if (root == NULL) fail_msg("line %d: %s", where.line, where.text);
    unlink(path);
    weir_emit_play_free(&play);
    weir_buffer_free(&out);
    return root;
}
#define TRUTH(now, ...)                                                                                                \
    truth_of((int)(sizeof(char *[]){"emit", __VA_ARGS__} / sizeof(char *)), (char *[]){"emit", __VA_ARGS__}, now)

static json_int_t number(const json_t *object, const char *key) {
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value)) fail_msg("no number %s", key);
    return json_integer_value(value);
}

static void test_it_adds_up(void **state) {
    (void)state;
    json_t *root = TRUTH(1700000000000000000, "--spans", "4001", "--sample", "0.5", "--errors", "0.1"), *row;
    json_int_t spans = 0, errors = 0, roots = 0;
    size_t i, j;
    json_array_foreach(json_object_get(root, "operations"), i, row) {
        json_int_t in_buckets = 0;
        json_t *bucket;
        bool client = strcmp(json_string_value(json_object_get(row, "kind")), "client") == 0;
        spans += number(row, "spans");
        errors += number(row, "errors");
        if (!client && strcmp(json_string_value(json_object_get(row, "service")), "edge") == 0)
            roots += number(row, "spans");
        assert_true(json_is_string(json_object_get(row, "operation")));
        assert_int_equal(json_is_string(json_object_get(row, "peer")), client);
        assert_true(json_real_value(json_object_get(row, "seconds")) > 0);
        assert_int_equal(json_array_size(json_object_get(row, "buckets")), WEIR_EMIT_BOUNDS + 1);
        json_array_foreach(json_object_get(row, "buckets"), j, bucket) in_buckets += json_integer_value(bucket);
        assert_int_equal(in_buckets, number(row, "spans"));
    }
    assert_int_equal(spans, 4001);
    assert_int_equal(number(root, "spans"), 4001);
    assert_int_equal(number(root, "traces"), roots);
    assert_true(errors > 400 && errors < 2000);
    assert_in_range(number(root, "sampled_spans"), 1500, 2500);
    assert_true(json_array_size(json_object_get(root, "edges")) > 10);
    json_array_foreach(json_object_get(root, "edges"), i, row) {
        assert_true(number(row, "requests") >= number(row, "errors"));
        assert_true(json_real_value(json_object_get(row, "client_seconds")) >
                    json_real_value(json_object_get(row, "server_seconds")));
    }
    json_decref(root);
}

static void test_time_and_sampling_leave_it_as_it_is(void **state) {
    (void)state;
    json_t *one = TRUTH(1700000000000000000, "--spans", "2000", "--seed", "4");
    json_t *later = TRUTH(1800000000000000000, "--spans", "2000", "--seed", "4");
    json_t *sampled = TRUTH(1700000000000000000, "--spans", "2000", "--seed", "4", "--sample", "10%");
    json_t *other = TRUTH(1700000000000000000, "--spans", "2000", "--seed", "5");
    assert_true(json_equal(one, later));
    assert_false(json_equal(one, other));
    assert_true(json_equal(json_object_get(one, "operations"), json_object_get(sampled, "operations")));
    assert_true(json_equal(json_object_get(one, "edges"), json_object_get(sampled, "edges")));
    json_decref(one);
    json_decref(later);
    json_decref(sampled);
    json_decref(other);
}

static void test_bounds_are_weirs_own(void **state) {
    (void)state;
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    if (weir_config_load(NULL, &config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(config->aggregate.latency_bucket_count, WEIR_EMIT_BOUNDS);
    for (uint32_t i = 0; i < WEIR_EMIT_BOUNDS; i++)
        assert_int_equal(llround(config->aggregate.latency_buckets[i] * 1e9), weir_emit_bounds_ns[i]);
    weir_config_free(config);
}

static void test_a_file_that_cannot_be_written_is_named(void **state) {
    (void)state;
    struct weir_emit_options options = {.truth = "/no/such/folder/truth.json"};
    struct weir_emit_mesh mesh = {0};
    struct weir_emit_truth truth = {.mesh = &mesh};
    struct weir_error err = {0};
    assert_int_equal(weir_emit_truth_write(&truth, &options, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "/no/such/folder/truth.json"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_adds_up),
        cmocka_unit_test(test_time_and_sampling_leave_it_as_it_is),
        cmocka_unit_test(test_bounds_are_weirs_own),
        cmocka_unit_test(test_a_file_that_cannot_be_written_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
