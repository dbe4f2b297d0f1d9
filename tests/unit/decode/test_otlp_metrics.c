#include "collector/core/buffer.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_metrics.h"
#include "points.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct {
    struct weir_names *names;
    struct weir_otlp_metrics *metrics;
    struct kept *kept;
    struct weir_otlp_metrics_counts counts;
    struct weir_error err;
    bool refuse;
} t;

static bool on_point(void *self, const struct weir_point *point) {
    (void)self;
    assert_int_equal(point->hash, weir_names_hash(t.names, point->key, point->key_size));
    assert_int_equal(point->data != NULL, point->kind >= WEIR_POINT_HISTOGRAM);
    return !t.refuse && keep_point(t.kept, point);
}

static enum weir_status decode(const void *bytes, size_t size) {
    const struct weir_otlp_metrics_calls calls = {.point = on_point};
    t.kept->count = 0;
    t.counts = (struct weir_otlp_metrics_counts){0};
    uint8_t *exact = malloc(size == 0 ? 1 : size); /* a sanitizer sees a step past the end */
    memcpy(exact, bytes, size);
    enum weir_status status = weir_otlp_metrics_decode(t.metrics, exact, size, &calls, &t.counts, &t.err);
    free(exact);
    return status;
}

static int set_up(void **state) {
    (void)state;
    t.names = weir_names_new(64, 4096);
    t.metrics = weir_otlp_metrics_new(t.names, 128);
    t.kept = malloc(sizeof *t.kept);
    t.refuse = false;
    return t.names == NULL || t.metrics == NULL || t.kept == NULL;
}
static int tear_down(void **state) {
    (void)state;
    weir_otlp_metrics_free(t.metrics);
    weir_names_free(t.names);
    free(t.kept);
    return 0;
}

/* ---- writing messages ---- */

struct out {
    uint8_t bytes[65536];
    size_t size;
};
static void put_uint(struct out *out, uint32_t number, uint64_t value) {
    out->size = (size_t)(weir_wire_put_uint(out->bytes + out->size, number, value) - out->bytes);
}
static void put_fixed64(struct out *out, uint32_t number, uint64_t value) {
    out->size = (size_t)(weir_wire_put_fixed64(out->bytes + out->size, number, value) - out->bytes);
}
static void put_double(struct out *out, uint32_t number, double value) {
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put_fixed64(out, number, bits);
}
static void put_bytes(struct out *out, uint32_t number, const void *bytes, size_t size) {
    assert_true(out->size + size + 16 < sizeof out->bytes);
    out->size = (size_t)(weir_wire_put_bytes(out->bytes + out->size, number, bytes, size) - out->bytes);
}
static void put_text(struct out *out, uint32_t number, const char *text) {
    put_bytes(out, number, text, strlen(text));
}
static void put_message(struct out *out, uint32_t number, const struct out *message) {
    put_bytes(out, number, message->bytes, message->size);
}
static void put_attribute(struct out *out, uint32_t number, const char *key, const struct out *value) {
    struct out pair = {.size = 0};
    put_text(&pair, 1, key);
    put_message(&pair, 2, value);
    put_message(out, number, &pair);
}
static void put_string(struct out *out, uint32_t number, const char *key, const char *text) {
    struct out value = {.size = 0};
    put_text(&value, 1, text);
    put_attribute(out, number, key, &value);
}

enum {
    SUM_FIELD = 7,
    GAUGE_FIELD = 5,
    HISTOGRAM_FIELD = 9,
    EXPONENTIAL_FIELD = 10,
    SUMMARY_FIELD = 11,
    DELTA = 1,
    CUMULATIVE = 2
};

/* One request of one metric `m` with this data field. */
static enum weir_status decode_metric(uint32_t field, const struct out *data, const struct out *resource) {
    struct out metric = {.size = 0}, scope = {.size = 0}, group = {.size = 0}, request = {.size = 0};
    put_message(&metric, field, data); /* the name last: order is free */
    put_text(&metric, 1, "m");
    put_message(&scope, 2, &metric);
    put_message(&group, 2, &scope);
    if (resource != NULL) put_message(&group, 1, resource);
    put_message(&request, 1, &group);
    return decode(request.bytes, request.size);
}
static enum weir_status decode_points(uint32_t field, int temporality, bool monotonic, const struct out *point) {
    struct out data = {.size = 0};
    put_message(&data, 1, point);
    if (temporality != 0) put_uint(&data, 2, (uint64_t)temporality);
    if (monotonic) put_uint(&data, 3, 1);
    return decode_metric(field, &data, NULL);
}
static const struct kept_point *one(void) {
    if (t.kept->count != 1)
        fail_msg("%u points, %llu rejected: %s", t.kept->count, (unsigned long long)t.counts.rejected, t.counts.reason);
    assert_int_equal(t.counts.points, 1);
    assert_int_equal(t.counts.rejected, 0);
    return &t.kept->points[0];
}
static void none(const char *reason) {
    assert_int_equal(t.kept->count, 0);
    assert_int_equal(t.counts.rejected, 1);
    assert_int_equal(t.counts.malformed, 1);
    if (strstr(t.counts.reason, reason) == NULL) fail_msg("\"%s\" instead of \"%s\"", t.counts.reason, reason);
}

/* ---- numbers ---- */

static void number_kinds(void **state) {
    (void)state;
    static const struct {
        uint32_t field;
        int temporality;
        bool monotonic;
        double value;
        int kind; /* -1: rejected */
    } rows[] = {
        {SUM_FIELD, DELTA, true, 5, WEIR_POINT_COUNT},
        {SUM_FIELD, DELTA, false, -5, WEIR_POINT_GAUGE_ADD},
        {SUM_FIELD, CUMULATIVE, true, 5, WEIR_POINT_CUMULATIVE},
        {SUM_FIELD, CUMULATIVE, false, -5, WEIR_POINT_GAUGE},
        {GAUGE_FIELD, 0, false, -2.5, WEIR_POINT_GAUGE},
        {GAUGE_FIELD, 0, false, INFINITY, WEIR_POINT_GAUGE},
        {SUM_FIELD, 0, true, 5, -1},
        {SUM_FIELD, 3, true, 5, -1},
        {SUM_FIELD, DELTA, true, -1, -1},
        {SUM_FIELD, CUMULATIVE, true, -1, -1},
        {SUM_FIELD, CUMULATIVE, true, NAN, -1},
        {SUM_FIELD, DELTA, false, NAN, -1},
        {SUM_FIELD, DELTA, false, INFINITY, -1},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct out point = {.size = 0};
        put_double(&point, 4, rows[i].value);
        put_fixed64(&point, 2, 11);
        put_fixed64(&point, 3, 22);
        assert_int_equal(decode_points(rows[i].field, rows[i].temporality, rows[i].monotonic, &point), WEIR_OK);
        if (rows[i].kind < 0) {
            none("");
            continue;
        }
        assert_int_equal(one()->point.kind, rows[i].kind);
        assert_true(one()->point.value == rows[i].value);
        assert_true(one()->point.weight == 1);
        assert_int_equal(one()->point.start_ns, 11);
        assert_int_equal(one()->point.time_ns, 22);
        assert_string_equal(one()->key, "m");
    }
    struct out integer = {.size = 0}, nothing = {.size = 0}, flagged = {.size = 0};
    put_fixed64(&integer, 6, (uint64_t)-7);
    decode_points(GAUGE_FIELD, 0, false, &integer);
    assert_true(one()->point.value == -7);
    decode_points(GAUGE_FIELD, 0, false, &nothing);
    none("m: a point without a value");
    put_uint(&flagged, 8, 1);
    assert_int_equal(decode_points(GAUGE_FIELD, 0, false, &flagged), WEIR_OK);
    assert_int_equal(t.kept->count + t.counts.points + t.counts.rejected, 0);
}

static void labels(void **state) {
    (void)state;
    struct out point = {.size = 0}, data = {.size = 0}, resource = {.size = 0}, value = {.size = 0};
    put_string(&point, 7, "http.method", "GET");
    put_uint(&value, 2, 1);
    put_attribute(&point, 7, "ok", &value);
    value.size = 0;
    put_uint(&value, 3, (uint64_t)-42);
    put_attribute(&point, 7, "code", &value);
    value.size = 0;
    put_double(&value, 4, 0.1);
    put_attribute(&point, 7, "share", &value);
    value.size = 0;
    put_bytes(&value, 5, "", 0);
    put_attribute(&point, 7, "list", &value); /* no label */
    value.size = 0;
    put_attribute(&point, 7, "nothing", &value);
    put_string(&point, 7, "job", "mine");
    put_string(&point, 7, "bad",
               "a\xff"
               "b\x1f");
    put_fixed64(&point, 6, 1);
    put_message(&data, 1, &point);
    put_string(&resource, 1, "service.name", "payments");
    put_string(&resource, 1, "service.instance.id", "sidecar-1");
    put_string(&resource, 1, "host.name", "h");
    assert_int_equal(decode_metric(GAUGE_FIELD, &data, &resource), WEIR_OK);
    assert_string_equal(one()->key, "m{bad=a\xef\xbf\xbd"
                                    "b ,code=-42,http_method=GET,instance=sidecar-1,job=payments,ok=true,share=0.1}");
    put_string(&resource, 1, "service.namespace", "shop");
    decode_metric(GAUGE_FIELD, &data, &resource);
    assert_non_null(strstr(one()->key, "job=shop/payments"));

    struct out nameless = {.size = 0};
    put_string(&nameless, 7, "", "x");
    put_fixed64(&nameless, 6, 1);
    decode_points(GAUGE_FIELD, 0, false, &nameless);
    none("an attribute without a name");
}

/* ---- buckets ---- */

static void put_packed(struct out *out, uint32_t number, const void *values, size_t count) {
    put_bytes(out, number, values, count * 8);
}

static void histograms(void **state) {
    (void)state;
    const double bounds[] = {0.5, 1, 10};
    const uint64_t counts[] = {1, 0, 2, 4};
    for (int packed = 0; packed < 2; packed++) {
        for (int temporality = DELTA; temporality <= CUMULATIVE; temporality++) {
            struct out point = {.size = 0};
            put_fixed64(&point, 4, 7);
            put_double(&point, 5, 33.5);
            if (packed) {
                put_packed(&point, 6, counts, 4);
                put_packed(&point, 7, bounds, 3);
            }
            for (int i = 0; i < 4 && !packed; i++)
                put_fixed64(&point, 6, counts[i]);
            for (int i = 0; i < 3 && !packed; i++)
                put_double(&point, 7, bounds[i]);
            put_string(&point, 9, "a", "b");
            assert_int_equal(decode_points(HISTOGRAM_FIELD, temporality, false, &point), WEIR_OK);
            assert_int_equal(one()->point.kind, WEIR_POINT_HISTOGRAM);
            assert_int_equal(one()->point.cumulative, temporality == CUMULATIVE);
            assert_int_equal(one()->data.count, 7);
            assert_true(one()->data.has_sum && one()->data.sum == 33.5);
            assert_int_equal(one()->data.bound_count, 3);
            assert_memory_equal(one()->bounds, bounds, sizeof bounds);
            assert_memory_equal(one()->counts, counts, sizeof counts);
            assert_string_equal(one()->key, "m{a=b}");
        }
    }
    struct out plain = {.size = 0}; /* count and sum alone */
    put_fixed64(&plain, 4, 7);
    decode_points(HISTOGRAM_FIELD, DELTA, false, &plain);
    assert_int_equal(one()->data.bound_count, 0);
    assert_int_equal(one()->counts[0], 7);
    assert_false(one()->data.has_sum);
}

static void histograms_that_do_not_fit(void **state) {
    (void)state;
    static const struct {
        uint64_t count;
        uint32_t count_count, bound_count;
        uint64_t counts[4];
        double bounds[4];
        double sum;
        const char *reason;
    } rows[] = {
        {3, 2, 2, {1, 2}, {1, 2}, 1, "not one more"},
        {3, 3, 0, {1, 1, 1}, {0}, 1, "not one more"},
        {0, 0, 1, {0}, {1}, 1, "not one more"},
        {3, 3, 2, {1, 1, 1}, {2, 2}, 1, "do not increase"},
        {3, 3, 2, {1, 1, 1}, {2, 1}, 1, "do not increase"},
        {3, 3, 2, {1, 1, 1}, {2, NAN}, 1, "do not increase"},
        {3, 3, 2, {1, 1, 1}, {2, INFINITY}, 1, "do not increase"},
        {4, 3, 2, {1, 1, 1}, {1, 2}, 1, "do not add up"},
        {0, 2, 1, {UINT64_MAX, 1}, {1}, 1, "do not add up"},
        {3, 3, 2, {1, 1, 1}, {1, 2}, NAN, "sum is not finite"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct out point = {.size = 0};
        put_fixed64(&point, 4, rows[i].count);
        put_double(&point, 5, rows[i].sum);
        put_packed(&point, 6, rows[i].counts, rows[i].count_count);
        put_packed(&point, 7, rows[i].bounds, rows[i].bound_count);
        assert_int_equal(decode_points(HISTOGRAM_FIELD, DELTA, false, &point), WEIR_OK);
        none(rows[i].reason);
    }
    static uint64_t zeros[4099];
    struct out many = {.size = 0};
    put_packed(&many, 6, zeros, 4099);
    decode_points(HISTOGRAM_FIELD, DELTA, false, &many);
    none("more than 4096 buckets");
}

static uint64_t zigzag(int32_t value) {
    return (uint32_t)value << 1 ^ (uint32_t)(value >> 31);
}

static void exponential_histograms(void **state) {
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        struct out point = {.size = 0}, positive = {.size = 0}, negative = {.size = 0};
        static const uint8_t varints[] = {3, 0, 0xac, 0x02}; /* 3, 0, 300 */
        put_uint(&positive, 1, zigzag(-5));
        if (packed) {
            put_bytes(&positive, 2, varints, sizeof varints);
        } else {
            put_uint(&positive, 2, 3);
            put_uint(&positive, 2, 0);
            put_uint(&positive, 2, 300);
        }
        put_uint(&negative, 1, zigzag(4));
        put_uint(&negative, 2, 2);
        put_fixed64(&point, 4, 315);
        put_double(&point, 5, 12);
        put_uint(&point, 6, zigzag(-3));
        put_fixed64(&point, 7, 10);
        put_message(&point, 8, &positive);
        put_message(&point, 9, &negative);
        put_string(&point, 1, "a", "b");
        assert_int_equal(decode_points(EXPONENTIAL_FIELD, CUMULATIVE, false, &point), WEIR_OK);
        assert_int_equal(one()->point.kind, WEIR_POINT_EXPONENTIAL);
        assert_true(one()->point.cumulative);
        assert_int_equal(one()->data.scale, -3);
        assert_int_equal(one()->data.zero_count, 10);
        assert_int_equal(one()->data.positive_offset, -5);
        assert_int_equal(one()->data.negative_offset, 4);
        assert_int_equal(one()->data.positive_count, 3);
        assert_int_equal(one()->data.negative_count, 1);
        const uint64_t want[] = {3, 0, 300};
        assert_memory_equal(one()->positive, want, sizeof want);
        assert_int_equal(one()->negative[0], 2);
        put_fixed64(&point, 4, 314);
        decode_points(EXPONENTIAL_FIELD, CUMULATIVE, false, &point);
        none("do not add up");
    }
    static const int32_t scales[] = {-11, 21, INT32_MAX};
    for (int i = 0; i < 3; i++) {
        struct out point = {.size = 0};
        put_uint(&point, 6, zigzag(scales[i]));
        decode_points(EXPONENTIAL_FIELD, DELTA, false, &point);
        none("scale");
    }
    struct out point = {.size = 0}, far = {.size = 0};
    put_uint(&far, 1, zigzag(INT32_MAX));
    put_uint(&far, 2, 1);
    put_fixed64(&point, 4, 1);
    put_message(&point, 8, &far);
    decode_points(EXPONENTIAL_FIELD, DELTA, false, &point);
    none("offset");
    struct out many = {.size = 0}, side = {.size = 0};
    static const uint8_t zeros[5000];
    put_bytes(&side, 2, zeros, sizeof zeros);
    put_message(&many, 9, &side);
    decode_points(EXPONENTIAL_FIELD, DELTA, false, &many);
    none("more than 4096 buckets");
}

static void summaries(void **state) {
    (void)state;
    struct out point = {.size = 0}, low = {.size = 0}, high = {.size = 0};
    put_double(&low, 2, 1.5); /* quantile 0 is left out on the wire */
    put_double(&high, 1, 0.99);
    put_double(&high, 2, 9);
    put_fixed64(&point, 4, 100);
    put_double(&point, 5, 250);
    put_message(&point, 6, &low);
    put_message(&point, 6, &high);
    assert_int_equal(decode_points(SUMMARY_FIELD, 0, false, &point), WEIR_OK);
    assert_int_equal(one()->point.kind, WEIR_POINT_SUMMARY);
    assert_int_equal(one()->data.count, 100);
    assert_true(one()->data.sum == 250);
    assert_int_equal(one()->data.bound_count, 2);
    assert_true(one()->bounds[0] == 0 && one()->bounds[1] == 0.99);
    assert_true(one()->values[0] == 1.5 && one()->values[1] == 9);
    put_message(&point, 6, &low);
    decode_points(SUMMARY_FIELD, 0, false, &point);
    none("quantiles");
}

/* ---- whole messages ---- */

static void load(const char *name, struct out *out) {
    char path[512];
    snprintf(path, sizeof path, "%s/envoy-live/%s", WEIR_TEST_DATA, name);
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    out->size = fread(out->bytes, 1, sizeof out->bytes, file);
    fclose(file);
}

/* Cut anywhere, it is refused with a byte or it is a shorter sound message; never is a point given out of a broken one.
 */
static void cut_messages(void **state) {
    (void)state;
    static struct out request;
    load("otlp-metrics-request-0.bin", &request);
    for (size_t size = 0; size < request.size; size += 7) {
        enum weir_status status = decode(request.bytes, size);
        if (status == WEIR_OK) continue;
        assert_int_equal(status, WEIR_INVALID);
        assert_int_equal(t.kept->count, 0);
        assert_non_null(strstr(t.err.text, " at byte "));
    }
    uint8_t bad[] = {0x0a, 0x05, 0x12, 0x03, 0x12, 0x05, 0x00};
    assert_int_equal(decode(bad, sizeof bad), WEIR_INVALID);
    assert_string_equal(t.err.text, "ScopeMetrics: length past the end of its message at byte 4");
}

static void deep_messages(void **state) {
    (void)state;
    for (int depth = 10; depth < 2000; depth *= 3) {
        struct out value = {.size = 0}, point = {.size = 0};
        put_text(&value, 1, "x");
        for (int i = 0; i < depth; i++) { /* AnyValue{array{AnyValue...}} */
            struct out list = {.size = 0}, outer = {.size = 0};
            put_message(&list, 1, &value);
            put_message(&outer, 5, &list);
            value = outer;
        }
        put_attribute(&point, 7, "a", &value);
        put_fixed64(&point, 6, 1);
        bool fits = 2 * depth + 8 <= WEIR_DEPTH_MAX;
        assert_int_equal(decode_points(GAUGE_FIELD, 0, false, &point), fits ? WEIR_OK : WEIR_INVALID);
        if (!fits) assert_non_null(strstr(t.err.text, "nested too deep"));
    }
}

static void refused_points_are_counted(void **state) {
    (void)state;
    struct out point = {.size = 0};
    put_fixed64(&point, 6, 1);
    t.refuse = true;
    assert_int_equal(decode_points(GAUGE_FIELD, 0, false, &point), WEIR_OK);
    assert_int_equal(t.counts.points, 0);
    assert_int_equal(t.counts.rejected, 1);
    assert_int_equal(t.counts.malformed, 0);
    assert_non_null(strstr(t.counts.reason, "m: refused"));
}

static const struct kept_point *with_key(const char *key) {
    const struct kept_point *found = NULL;
    for (uint32_t i = 0; i < t.kept->count; i++) {
        if (strcmp(t.kept->points[i].key, key) != 0) continue;
        if (found != NULL) fail_msg("%s is there twice", key);
        found = &t.kept->points[i];
    }
    if (found == NULL) fail_msg("%s is not there", key);
    return found;
}

/* What Envoy 1.40's stat sink sends. The numbers are those that `protoc --decode_raw` shows. */
static void from_envoy(void **state) {
    (void)state;
    static struct out request;
    static const struct {
        const char *file;
        uint32_t gauges, sums, histograms;
    } rows[] = {{"otlp-metrics-request-0.bin", 46, 28, 3},
                {"otlp-metrics-request-1.bin", 62, 64, 14},
                {"otlp-metrics-request-2.bin", 69, 80, 18}};
    for (int i = 0; i < 3; i++) {
        uint32_t kinds[WEIR_POINT_SUMMARY + 1] = {0};
        load(rows[i].file, &request);
        assert_int_equal(decode(request.bytes, request.size), WEIR_OK);
        for (uint32_t k = 0; k < t.kept->count; k++)
            kinds[t.kept->points[k].point.kind]++;
        assert_int_equal(kinds[WEIR_POINT_GAUGE], rows[i].gauges);
        assert_int_equal(kinds[WEIR_POINT_CUMULATIVE], rows[i].sums);
        assert_int_equal(kinds[WEIR_POINT_HISTOGRAM], rows[i].histograms);
        assert_int_equal(t.counts.points, rows[i].gauges + rows[i].sums + rows[i].histograms);
        assert_int_equal(t.counts.rejected, 0);
    }
    const struct kept_point *total = with_key("cluster_upstream_rq_total{envoy_cluster_name=weir}");
    assert_true(total->point.value == 45);
    assert_int_equal(total->point.time_ns, 0x18eaaf8a68e552b8);
    assert_int_equal(total->point.start_ns, 0x000660f18b85e142); /* as sent: Envoy writes microseconds here */
    const struct kept_point *time = with_key("cluster_upstream_rq_time{envoy_cluster_name=app}");
    assert_true(time->point.cumulative);
    assert_int_equal(time->data.count, 100);
    assert_int_equal(time->data.bound_count, 19);
    assert_true(time->bounds[0] == 0.5 && time->bounds[1] == 1);
    assert_int_equal(time->counts[0], 69);
    assert_int_equal(time->counts[1], 30);
    assert_int_equal(time->counts[2], 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(number_kinds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(labels, set_up, tear_down),
        cmocka_unit_test_setup_teardown(histograms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(histograms_that_do_not_fit, set_up, tear_down),
        cmocka_unit_test_setup_teardown(exponential_histograms, set_up, tear_down),
        cmocka_unit_test_setup_teardown(summaries, set_up, tear_down),
        cmocka_unit_test_setup_teardown(cut_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(deep_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(refused_points_are_counted, set_up, tear_down),
        cmocka_unit_test_setup_teardown(from_envoy, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
