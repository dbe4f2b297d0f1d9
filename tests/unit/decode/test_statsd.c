#include "collector/decode/key.h"
#include "collector/decode/number.h"
#include "collector/decode/statsd.h"
#include "points.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static struct {
    struct weir_names *names;
    struct weir_statsd *statsd;
    struct kept *kept;
    uint32_t refused[WEIR_STATSD_REFUSALS], refusals;
    size_t lines;
} t;

static void on_point(void *self, const struct weir_point *point) {
    (void)self;
    assert_int_equal(point->hash, weir_names_hash(t.names, point->key, point->key_size));
    keep_point(t.kept, point);
}
static void on_refused(void *self, enum weir_statsd_refusal reason) {
    (void)self;
    t.refused[reason]++;
    t.refusals++;
}
static void decode_from(const void *bytes, size_t size, struct weir_statsd_source source) {
    const struct weir_statsd_calls calls = {.point = on_point, .refused = on_refused};
    t.kept->count = t.refusals = 0;
    memset(t.refused, 0, sizeof t.refused);
    uint8_t *exact = malloc(size == 0 ? 1 : size); /* a sanitizer sees a step past the end */
    memcpy(exact, bytes, size);
    t.lines = weir_statsd_decode(t.statsd, exact, size, source, &calls);
    free(exact);
}
static void decode(const char *text) {
    decode_from(text, strlen(text), (struct weir_statsd_source){0});
}

static int set_up(void **state) {
    (void)state;
    t.names = weir_names_new(64, 4096);
    t.statsd = weir_statsd_new(t.names, 128);
    t.kept = malloc(sizeof *t.kept);
    return t.names == NULL || t.statsd == NULL || t.kept == NULL;
}
static int tear_down(void **state) {
    (void)state;
    weir_statsd_free(t.statsd);
    weir_names_free(t.names);
    free(t.kept);
    return 0;
}

/* ---- rows ---- */

struct accepted {
    const char *line;
    const char *key;
    enum weir_point_kind kind;
    double value, weight;
    uint64_t time_s;
};
static const struct accepted accepted[] = {
    {"a:1|c", "a", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:0|c", "a", WEIR_POINT_COUNT, 0, 1, 0},
    {"a:3|c|@0.1", "a", WEIR_POINT_COUNT, 3 / 0.1, 1, 0},
    {"a:3|c|@1.000000", "a", WEIR_POINT_COUNT, 3, 1, 0},
    {"a.time:200|ms", "a_time", WEIR_POINT_TIMER, 0.2, 1, 0},
    {"a.time:12.5|ms|@0.1", "a_time", WEIR_POINT_TIMER, 0.0125, 10, 0},
    {"a.time:100|ms|@0.0000001", "a_time", WEIR_POINT_TIMER, 0.1, 1 / 0.0000001, 0},
    {"a:-7|h", "a", WEIR_POINT_SAMPLE, -7, 1, 0},
    {"a:0.25|d|@0.5", "a", WEIR_POINT_SAMPLE, 0.25, 2, 0},
    {"a:7|g", "a", WEIR_POINT_GAUGE, 7, 1, 0},
    {"a:+7|g", "a", WEIR_POINT_GAUGE_ADD, 7, 1, 0},
    {"a:-7.5|g", "a", WEIR_POINT_GAUGE_ADD, -7.5, 1, 0},
    {"a:3|g|@0.2", "a", WEIR_POINT_GAUGE, 3, 1, 0},
    {"a:1e3|g", "a", WEIR_POINT_GAUGE, 1000, 1, 0},
    {"a:1.5E-3|g", "a", WEIR_POINT_GAUGE, 0.0015, 1, 0},
    {"a:4294967295|g", "a", WEIR_POINT_GAUGE, 4294967295.0, 1, 0},
    {"a:3|g|T1656581400", "a", WEIR_POINT_GAUGE, 3, 1, 1656581400},
    {"a:3|c|T1656581400|@0.5", "a", WEIR_POINT_COUNT, 6, 1, 1656581400},
    {"a:3|ms|T1656581400", "a", WEIR_POINT_TIMER, 0.003, 1, 0},
    /* names */
    {"linkerd.rt.http.server.0_0_0_0.4140.requests:2|c|@1.000000", "linkerd_rt_http_server_0_0_0_0_4140_requests",
     WEIR_POINT_COUNT, 2, 1, 0},
    {"9lives-left/today:1|c", "_9lives_left_today", WEIR_POINT_COUNT, 1, 1, 0},
    {"caf\xc3\xa9.r\xe2\x82\xac:1|c", "caf__r_", WEIR_POINT_COUNT, 1, 1, 0},
    /* tags */
    {"a:1|c|#b:2,a:1", "a{a=1,b=2}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#b:2,b:3", "a{b=3}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#b.c:2,b-c:3", "a{b_c=3}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#b:x:y", "a{b=x:y}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#b:\tx\x1fy", "a{b= x y}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#flag,b:,,c:1", "a{c=1}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#", "a", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#1st:x,a:y:z", "a{_1st=x,a=y:z}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#b:caf\xc3\xa9", "a{b=caf\xc3\xa9}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#le:5,quantile:1,__name__:b,overflow:x,_x:1",
     "a{_x=1,exported___name__=b,exported_le=5,exported_overflow=x,exported_quantile=1}", WEIR_POINT_COUNT, 1, 1, 0},
    {"a:1|c|#ab:1,a:2,abc:3", "a{a=2,ab=1,abc=3}", WEIR_POINT_COUNT, 1, 1, 0},
    /* sections in any order */
    {"a:1|c|#b:1|@0.5", "a{b=1}", WEIR_POINT_COUNT, 2, 1, 0},
    {"a:1|g|T5|c:ci-1|#b:1", "a{b=1,container_id=ci-1}", WEIR_POINT_GAUGE, 1, 1, 5},
    {"a:1|c|e:it-false,cn-x,pu-1|card:low", "a", WEIR_POINT_COUNT, 1, 1, 0},
    {"_e:1|c", "_e", WEIR_POINT_COUNT, 1, 1, 0},
    {"_score:1|c", "_score", WEIR_POINT_COUNT, 1, 1, 0},
};

static void good_lines(void **state) {
    (void)state;
    for (int pass = 0; pass < 2; pass++) { /* made, then known */
        for (size_t i = 0; i < sizeof accepted / sizeof accepted[0]; i++) {
            const struct accepted *row = &accepted[i];
            decode(row->line);
            if (t.kept->count != 1 || t.refusals != 0 || t.lines != 1)
                fail_msg("%s: %u points, %u refusals", row->line, t.kept->count, t.refusals);
            const struct kept_point *got = &t.kept->points[0];
            if (strcmp(got->key, row->key) != 0) fail_msg("%s: key %s", row->line, got->key);
            if (got->point.kind != row->kind) fail_msg("%s: kind %d", row->line, got->point.kind);
            if (got->point.value != row->value) fail_msg("%s: value %.17g", row->line, got->point.value);
            if (got->point.weight != row->weight) fail_msg("%s: weight %.17g", row->line, got->point.weight);
            if (got->point.time_ns != row->time_s * 1000000000ull)
                fail_msg("%s: time %llu", row->line, (unsigned long long)got->point.time_ns);
        }
    }
}

struct refused {
    const char *line;
    enum weir_statsd_refusal reason;
};
static const struct refused refused[] = {
    {"a", WEIR_STATSD_NO_VALUE},
    {"a|c", WEIR_STATSD_NO_VALUE},
    {"a:", WEIR_STATSD_NO_VALUE},
    {"a:|c", WEIR_STATSD_NO_VALUE},
    {"a:|s", WEIR_STATSD_NO_VALUE},
    {":1|c", WEIR_STATSD_BAD_NAME},
    {"a|b:1|c", WEIR_STATSD_BAD_NAME},
    {"a\xc3(b:1|c", WEIR_STATSD_BAD_NAME},
    {"\xff:1|c", WEIR_STATSD_BAD_NAME},
    {"a:x|c", WEIR_STATSD_BAD_VALUE},
    {"a:1o|c", WEIR_STATSD_BAD_VALUE},
    {"a: 1|c", WEIR_STATSD_BAD_VALUE},
    {"a:1 |c", WEIR_STATSD_BAD_VALUE},
    {"a:0x10|c", WEIR_STATSD_BAD_VALUE},
    {"a:1,5|g", WEIR_STATSD_BAD_VALUE},
    {"a:nan|g", WEIR_STATSD_BAD_VALUE},
    {"a:inf|g", WEIR_STATSD_BAD_VALUE},
    {"a:-Infinity|g", WEIR_STATSD_BAD_VALUE},
    {"a:1e999|g", WEIR_STATSD_BAD_VALUE},
    {"a:1e|g", WEIR_STATSD_BAD_VALUE},
    {"a:.|g", WEIR_STATSD_BAD_VALUE},
    {"a:+|g", WEIR_STATSD_BAD_VALUE},
    {"a:--1|g", WEIR_STATSD_BAD_VALUE},
    {"a:1:|c", WEIR_STATSD_BAD_VALUE},
    {"a:1::2|c", WEIR_STATSD_BAD_VALUE},
    {"a:1:2:x|c", WEIR_STATSD_BAD_VALUE},
    {"a:1e308|c|@0.001", WEIR_STATSD_BAD_VALUE},
    {"a:-1|c", WEIR_STATSD_NEGATIVE},
    {"a:1", WEIR_STATSD_BAD_TYPE},
    {"a:1|", WEIR_STATSD_BAD_TYPE},
    {"a:1|q", WEIR_STATSD_BAD_TYPE},
    {"a:1|cc", WEIR_STATSD_BAD_TYPE},
    {"a:1|m", WEIR_STATSD_BAD_TYPE},
    {"a:1|c\r", WEIR_STATSD_BAD_TYPE},
    {"a:1|c|@0", WEIR_STATSD_BAD_RATE}, /* a rate of zero has no weight */
    {"a:1|c|@-0.1", WEIR_STATSD_BAD_RATE},
    {"a:1|c|@1.1", WEIR_STATSD_BAD_RATE},
    {"a:1|c|@0,010000", WEIR_STATSD_BAD_RATE}, /* Linkerd 1 in a JVM whose locale is German */
    {"a:1|c|@", WEIR_STATSD_BAD_RATE},
    {"a:1|c|@x", WEIR_STATSD_BAD_RATE},
    {"a:1|ms|@1e-310", WEIR_STATSD_BAD_RATE}, /* its weight is infinite */
    {"a:1|c|#:x", WEIR_STATSD_BAD_TAG},
    {"a:1|c|#b:\xc3(", WEIR_STATSD_BAD_TAG},
    {"a:1|c|#\xc3(:b", WEIR_STATSD_BAD_TAG},
    {"a:1|c|c:\xc3(", WEIR_STATSD_BAD_TAG},
    {"a:1|c|0.1", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|", WEIR_STATSD_BAD_SECTION},
    {"a:1|c||@0.5", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|c", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|c:", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|T", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|T1x", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|T-1", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|T99999999999", WEIR_STATSD_BAD_SECTION}, /* past what 64 bits of nanoseconds hold */
    {"a:1|c|@0.5|@0.5", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|#a:1|#b:2", WEIR_STATSD_BAD_SECTION},
    {"a:1|c|c:x|c:y", WEIR_STATSD_BAD_SECTION},
    {"_e{5,4}:title|text|#a:b", WEIR_STATSD_EVENT},
    {"_sc|redis.up|0|#a:b", WEIR_STATSD_EVENT},
};

static void bad_lines(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        decode(refused[i].line);
        if (t.kept->count != 0) fail_msg("%s: taken as %s", refused[i].line, t.kept->points[0].key);
        if (t.refusals != 1 || t.refused[refused[i].reason] != 1) {
            int got = 0;
            while (got < WEIR_STATSD_REFUSALS - 1 && t.refused[got] == 0)
                got++;
            fail_msg("%s: %u refusals, %s instead of %s", refused[i].line, t.refusals, weir_statsd_refusal_names[got],
                     weir_statsd_refusal_names[refused[i].reason]);
        }
    }
    for (int i = 0; i < WEIR_STATSD_REFUSALS; i++)
        assert_non_null(weir_statsd_refusal_names[i]);
}

static void neighbours_are_kept(void **state) {
    (void)state;
    decode("a:1|c\nnonsense\n\na:x|c\nb:2|c\n\n");
    assert_int_equal(t.lines, 4);
    assert_int_equal(t.kept->count, 2);
    assert_string_equal(t.kept->points[1].key, "b");
    assert_int_equal(t.refusals, 2);
    decode("");
    assert_int_equal(t.lines, 0);
    decode("\n\n");
    assert_int_equal(t.lines, 0);
    assert_int_equal(t.refusals, 0);
}

static void packed_values(void **state) {
    (void)state;
    decode("a:1:2.5:4|ms|@0.5|#b:c");
    assert_int_equal(t.kept->count, 3);
    const double seconds[] = {0.001, 0.0025, 0.004};
    for (int i = 0; i < 3; i++) {
        assert_true(t.kept->points[i].point.value == seconds[i]);
        assert_true(t.kept->points[i].point.weight == 2);
        assert_string_equal(t.kept->points[i].key, "a{b=c}");
    }
    decode("g:5:+2:-1|g"); /* set, up, down */
    assert_int_equal(t.kept->count, 3);
    assert_int_equal(t.kept->points[0].point.kind, WEIR_POINT_GAUGE);
    assert_int_equal(t.kept->points[1].point.kind, WEIR_POINT_GAUGE_ADD);
    assert_true(t.kept->points[2].point.value == -1);
}

static void set_members(void **state) {
    (void)state;
    decode("u:ann|s\nu:bob|s\nu:ann|s|@0.5\nu:a:b|s");
    assert_int_equal(t.kept->count, 4);
    for (int i = 0; i < 4; i++)
        assert_int_equal(t.kept->points[i].point.kind, WEIR_POINT_SET);
    uint64_t ann = t.kept->points[0].point.member;
    assert_int_equal(ann, weir_names_hash(t.names, "ann", 3));
    assert_int_not_equal(t.kept->points[1].point.member, ann);
    assert_int_equal(t.kept->points[2].point.member, ann);
    assert_int_equal(t.kept->points[3].point.member, weir_names_hash(t.names, "a:b", 3));
}

static void sources(void **state) {
    (void)state;
    for (int pass = 0; pass < 2; pass++) {
        struct weir_statsd_source one = {.address = "10.0.0.1"}, two = {.address = "10.0.0.2"},
                                  host = {.address = "10.0.0.1", .prefer_host_tag = true};
        decode_from("a:1|g", 5, one);
        assert_string_equal(t.kept->points[0].key, "a{source=10.0.0.1}");
        decode_from("a:1|g", 5, two);
        assert_string_equal(t.kept->points[0].key, "a{source=10.0.0.2}");
        decode_from("a:1|g|#source:me", 16, one);
        assert_string_equal(t.kept->points[0].key, "a{source=10.0.0.1}");
        decode_from("a:1|g|#host:web-1", 17, one);
        assert_string_equal(t.kept->points[0].key, "a{host=web-1,source=10.0.0.1}");
        decode_from("a:1|g|#host:web-1", 17, host);
        assert_string_equal(t.kept->points[0].key, "a{host=web-1,source=web-1}");
        decode_from("a:1|g", 5, host);
        assert_string_equal(t.kept->points[0].key, "a{source=10.0.0.1}");
        decode("a:1|g");
        assert_string_equal(t.kept->points[0].key, "a");
    }
}

/* More different lines than are remembered, some longer than are remembered: the keys stay right. */
static void many_names(void **state) {
    (void)state;
    char line[1024], key[1024], padding[601];
    memset(padding, 'p', sizeof padding - 1);
    padding[sizeof padding - 1] = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 20000; i++) {
            int width = i % 7 == 0 ? 400 : i % 40;
            snprintf(line, sizeof line, "n%.*s.%d:1|c|#t:%d", width, padding, i, i % 3);
            snprintf(key, sizeof key, "n%.*s_%d{t=%d}", width, padding, i, i % 3);
            decode(line);
            assert_int_equal(t.kept->count, 1);
            assert_string_equal(t.kept->points[0].key, key);
        }
    }
}

static void bounds(void **state) {
    (void)state;
    char line[16384];
    char *at = line;
    at += sprintf(at, "a:1|c|#v:");
    for (int i = 0; i < 127; i++)
        *at++ = 'x';
    strcpy(at, "\xc3\xa9yz"); /* the limit of 128 falls into the é */
    decode(line);
    assert_int_equal(t.kept->count, 1);
    assert_int_equal(t.kept->points[0].point.key_size, 1 + 1 + 1 + 1 + 127);

    for (int labels = WEIR_LABELS_MAX; labels <= WEIR_LABELS_MAX + 1; labels++) {
        at = line + sprintf(line, "a:1|c|#");
        for (int i = 0; i < labels; i++)
            at += sprintf(at, "l%d:1,", i);
        decode(line);
        assert_int_equal(t.kept->count, labels == WEIR_LABELS_MAX);
        assert_int_equal(t.refused[WEIR_STATSD_BAD_TAG], labels != WEIR_LABELS_MAX);
    }
    for (int size = WEIR_METRIC_NAME_BYTES_MAX; size <= WEIR_METRIC_NAME_BYTES_MAX + 1; size++) {
        memset(line, '9', (size_t)size); /* a leading digit makes it one longer */
        strcpy(line + size, ":1|c");
        decode(line);
        assert_int_equal(t.refused[WEIR_STATSD_BAD_NAME], size != WEIR_METRIC_NAME_BYTES_MAX);
    }
    at = line + sprintf(line, "a:1|c|#");
    memset(at, 'k', WEIR_LABEL_NAME_BYTES_MAX + 1);
    strcpy(at + WEIR_LABEL_NAME_BYTES_MAX + 1, ":1");
    decode(line);
    assert_int_equal(t.refused[WEIR_STATSD_BAD_TAG], 1);
}

static void numbers(void **state) {
    (void)state;
    static const char *const rows[] = {"0",
                                       "-0",
                                       "1",
                                       "12.5",
                                       "0.1",
                                       "0.3",
                                       "100.0000",
                                       "3.14159265358979",
                                       "9007199254740993",
                                       "18446744073709551616",
                                       "0.000001",
                                       "1e22",
                                       "1e23",
                                       "123456789012345678901234567890",
                                       "5e-324",
                                       "1.7976931348623157e308",
                                       ".5",
                                       "5.",
                                       "2.2250738585072011e-308",
                                       "0.000000000000000000000000000000000000001234",
                                       "00000000000000000000000000000012",
                                       "89255.0e-22",
                                       "7.2057594037927933e16",
                                       "1e-400",
                                       "0e999999999"};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        double got;
        const uint8_t *end = (const uint8_t *)rows[i] + strlen(rows[i]);
        if (weir_number_read((const uint8_t *)rows[i], end, &got) != end) fail_msg("%s is refused", rows[i]);
        double want = strtod(rows[i], NULL);
        if (memcmp(&got, &want, 8) != 0) fail_msg("%s reads as %.17g", rows[i], got);
    }
    uint64_t seed = 42; /* whatever a double prints as reads back as the same double */
    for (int i = 0; i < 20000; i++) {
        seed = seed * 6364136223846793005ull + 1442695040888963407ull;
        double want, got;
        memcpy(&want, &seed, 8);
        if (!isfinite(want)) continue;
        char text[64];
        int size = snprintf(text, sizeof text, i % 2 ? "%.17g" : "%.6f", i % 2 ? want : (double)(int64_t)seed / 1e9);
        const uint8_t *end = (const uint8_t *)text + size;
        assert_ptr_equal(weir_number_read((const uint8_t *)text, end, &got), end);
        want = strtod(text, NULL);
        if (memcmp(&got, &want, 8) != 0) fail_msg("%s reads as %.17g", text, got);
    }
    char long_one[500];
    double value;
    memset(long_one, '1', sizeof long_one);
    assert_null(weir_number_read((const uint8_t *)long_one, (const uint8_t *)long_one + sizeof long_one, &value));
}

/* ---- what statsd_exporter makes of the lines of its own test ---- */

/* Where we mean to differ: `key` NULL = refused. */
static const struct {
    const char *line, *key, *why;
} differences[] = {
    {"foo#tag1=bar,tag2=baz:100|c", "foo_tag1_bar_tag2_baz", "Librato's tags are not spoken: part of the name"},
    {"foo#09digits=0,tag.with.dots=1:100|c", "foo_09digits_0_tag_with_dots_1", "Librato's tags"},
    {"foo,tag1=bar,tag2=baz:100|c", "foo_tag1_bar_tag2_baz", "InfluxDB's tags are not spoken: part of the name"},
    {"foo,09digits=0,tag.with.dots=1:100|c", "foo_09digits_0_tag_with_dots_1", "InfluxDB's tags"},
    {"foo.[tag1=bar,tag2=baz]test:100|c", "foo__tag1_bar_tag2_baz_test",
     "SignalFX' tags are not spoken: part of the name"},
    {"foo.test[tag1=bar,tag2=baz]:100|c", "foo_test_tag1_bar_tag2_baz_", "SignalFX' tags"},
    {"[tag1=bar,tag2=baz]foo.test:100|c", "_tag1_bar_tag2_baz_foo_test", "SignalFX' tags"},
    {"foo.[]test:100|c", "foo___test", "SignalFX' tags"},
    {"foo.[tag1,tag2]test:100|c", "foo__tag1_tag2_test", "SignalFX' tags"},
    {"foo.[tag1=bar,tag2=baz]test:0.5:120:3000:10:20000:0.01|ms", "foo__tag1_bar_tag2_baz_test", "SignalFX' tags"},
    {"foo.[]test:0.5:120:3000:10:20000:0.01|ms", "foo___test", "SignalFX' tags"},
    {"foo#tag1=foo,tag3=bing:100|c|#tag1:bar,#tag2:baz", "foo_tag1_foo_tag3_bing{tag1=bar,tag2=baz}",
     "one tag style, so none to mix"},
    {"foo[tag1=foo,tag3=bing]:100|c|#tag1:bar,#tag2:baz", "foo_tag1_foo_tag3_bing_{tag1=bar,tag2=baz}",
     "one tag style, so none to mix"},
    {"foo,tag1=foo,tag3=bing:100|c|#tag1:bar,#tag2:baz", "foo_tag1_foo_tag3_bing{tag1=bar,tag2=baz}",
     "one tag style, so none to mix"},
    {"foo#tag1=foo,tag3=bing:100|c|@0.1|#tag1:bar,#tag2:baz", "foo_tag1_foo_tag3_bing{tag1=bar,tag2=baz}",
     "one tag style, so none to mix"},
    {"foo_counter:0.5:120:3000:10:20000:0.01|c|#tag1:bar,tag2:baz", "foo_counter{tag1=bar,tag2=baz}",
     "DogStatsD 1.1 packs counters too"},
    {"foo_gauge:0.5:120:3000:10:20000:0.01|g|#tag1:bar,tag2:baz", "foo_gauge{tag1=bar,tag2=baz}",
     "DogStatsD 1.1 packs gauges too"},
    {"foo.[tag1=bar,tag2=baz]test:0.5:120:3000:10:20000:0.01|c", "foo__tag1_bar_tag2_baz_test",
     "DogStatsD 1.1 packs counters too"},
    {"foo.[]test:0.5:120:3000:10:20000:0.01|c", "foo___test", "DogStatsD 1.1 packs counters too"},
    {"foo:1|c|@bar", NULL, "a rate that is no number is no reason to count 1"},
    {"foo:2|c|@0", NULL, "a rate of zero has no weight"},
    {"foo:100|c|#tag:val|Tnot-a-ts", NULL, "a broken section refuses its line"},
    {"foo:100|c|#tag:val|T", NULL, "a broken section refuses its line"},
};
enum { DIFFERENCES = sizeof differences / sizeof differences[0] };

static int by_text(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void expected_key(json_t *event, char *out) {
    const char *names[32], *name;
    json_t *value, *labels = json_object_get(event, "labels");
    size_t count = 0, n = 0;
    json_object_foreach(labels, name, value) names[count++] = name;
    qsort(names, count, sizeof *names, by_text);
    n += (size_t)sprintf(out, "%s", json_string_value(json_object_get(event, "name")));
    for (size_t i = 0; i < n; i++) {
        if (strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_:", out[i]) == NULL) out[i] = '_';
    }
    for (size_t i = 0; i < count; i++) {
        n += (size_t)sprintf(out + n, "%c%s=%s", i == 0 ? '{' : ',', names[i],
                             json_string_value(json_object_get(labels, names[i])));
    }
    if (count > 0) strcpy(out + n, "}");
}

static void compare(const char *line, json_t *events) {
    size_t e = 0;
    for (uint32_t i = 0; i < t.kept->count; i++) {
        const struct kept_point *got = &t.kept->points[i];
        if (e >= json_array_size(events))
            fail_msg("%s: more points than its %zu events", line, json_array_size(events));
        json_t *event = json_array_get(events, e);
        const char *type = json_string_value(json_object_get(event, "type"));
        char key[1024];
        expected_key(event, key);
        assert_string_equal(got->key, key);
        double value = json_number_value(json_object_get(event, "value"));
        if (got->point.value != value) fail_msg("%s: %.17g instead of %.17g", line, got->point.value, value);
        if (strcmp(type, "observer") == 0) { /* they repeat the event int(1/rate) times, we weigh it once */
            assert_true(got->point.kind == WEIR_POINT_TIMER || got->point.kind == WEIR_POINT_SAMPLE);
            size_t repeats = 0;
            for (; e < json_array_size(events) && (double)repeats < got->point.weight; e++, repeats++) {
                assert_true(json_equal(json_array_get(events, e), event));
            }
            if ((double)repeats != got->point.weight)
                fail_msg("%s: weight %g, %zu events", line, got->point.weight, repeats);
            continue;
        }
        bool gauge = strcmp(type, "gauge") == 0, relative = json_is_true(json_object_get(event, "relative"));
        assert_int_equal(got->point.kind, !gauge     ? WEIR_POINT_COUNT
                                          : relative ? WEIR_POINT_GAUGE_ADD
                                                     : WEIR_POINT_GAUGE);
        e++;
    }
    if (e != json_array_size(events))
        fail_msg("%s: %u points, %zu events", line, t.kept->count, json_array_size(events));
    assert_int_equal(t.refusals, json_array_size(events) == 0 ? 1 : 0);
}

/* Code points 128-255 stand for raw bytes. */
static void to_bytes(const char *utf8, char *out) {
    for (; *utf8 != 0; utf8++) {
        unsigned char c = (unsigned char)*utf8;
        if (c >= 0xc2 && c <= 0xc3) c = (unsigned char)((c & 3) << 6 | (*++utf8 & 0x3f));
        *out++ = (char)c;
    }
    *out = 0;
}

static void as_statsd_exporter(void **state) {
    (void)state;
    FILE *file = fopen(WEIR_TEST_DATA "/statsd/statsd_exporter-line_test.jsonl", "r");
    assert_non_null(file);
    char row[65536], line[4096];
    int rows = 0;
    bool met[DIFFERENCES] = {false};
    while (fgets(row, sizeof row, file) != NULL) {
        json_t *json = json_loads(row, 0, NULL);
        assert_non_null(json);
        to_bytes(json_string_value(json_object_get(json, "in")), line);
        decode(line);
        rows++;
        int difference = 0;
        while (difference < DIFFERENCES && strcmp(differences[difference].line, line) != 0)
            difference++;
        if (difference == DIFFERENCES) {
            compare(line, json_object_get(json, "events"));
        } else {
            met[difference] = true;
            const char *key = differences[difference].key;
            if ((key == NULL) != (t.kept->count == 0))
                fail_msg("%s: %u points (%s)", line, t.kept->count, differences[difference].why);
            if (key != NULL) assert_string_equal(t.kept->points[0].key, key);
        }
        json_decref(json);
    }
    fclose(file);
    assert_int_equal(rows, 80);
    for (int i = 0; i < DIFFERENCES; i++) {
        if (!met[i]) fail_msg("%s is not in the file", differences[i].line);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(good_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bad_lines, set_up, tear_down),
        cmocka_unit_test_setup_teardown(neighbours_are_kept, set_up, tear_down),
        cmocka_unit_test_setup_teardown(packed_values, set_up, tear_down),
        cmocka_unit_test_setup_teardown(set_members, set_up, tear_down),
        cmocka_unit_test_setup_teardown(sources, set_up, tear_down),
        cmocka_unit_test_setup_teardown(many_names, set_up, tear_down),
        cmocka_unit_test_setup_teardown(bounds, set_up, tear_down),
        cmocka_unit_test_setup_teardown(numbers, set_up, tear_down),
        cmocka_unit_test_setup_teardown(as_statsd_exporter, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
