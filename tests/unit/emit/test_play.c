#define _GNU_SOURCE 1 /* memmem */
/* What is rendered is what was played: repeats by seed, unpacks, makes whole trees, and adds up to the truth. */
#include "collector/core/operation.h"
#include "played.h"

#include <stdio.h>

#define SERVER 2
#define CLIENT 3

static int by_trace_then_id(const void *a, const void *b) {
    const struct played_span *p = a, *q = b;
    int order = memcmp(p->span->trace_id.data, q->span->trace_id.data, 16);
    return order != 0 ? order : memcmp(p->span->span_id.data, q->span->span_id.data, 8);
}

static const struct played_span *find(const struct played *played, const Span *child) {
    Span wanted = {.trace_id = child->trace_id, .span_id = child->parent_span_id};
    struct played_span key = {.span = &wanted};
    return bsearch(&key, played->spans, played->span_count, sizeof *played->spans, by_trace_then_id);
}

static bool failed(const Span *span) {
    return span->status == 2;
}

/* Every span but the root's has its parent in the trace; times lie inside the parent's; a SERVER span is another
 * service's, below a CLIENT span that failed when it failed. Returns the number of roots. */
static uint32_t check_trees(struct played *played) {
    uint32_t roots = 0;
    qsort(played->spans, played->span_count, sizeof *played->spans, by_trace_then_id);
    for (uint32_t i = 0; i < played->span_count; i++) {
        const Span *span = played->spans[i].span;
        assert_int_equal(span->trace_id.len, 16);
        assert_int_equal(span->span_id.len, 8);
        assert_true(i == 0 || by_trace_then_id(&played->spans[i - 1], &played->spans[i]) != 0);
        assert_true(span->kind == SERVER || span->kind == CLIENT);
        assert_true(span->end_time_unix_nano >= span->start_time_unix_nano);
        const char *status = attribute(span->attributes, span->n_attributes, "http.status_code");
        if (status != NULL) assert_string_equal(status, failed(span) ? "503" : "200");
        const char *request_id = attribute(span->attributes, span->n_attributes, "guid:x-request-id");
        if (request_id != NULL)
            assert_true(strlen(request_id) == 36 && request_id[14] == '9'); /* Envoy: sampled, not forced */
        if (span->parent_span_id.len == 0) {
            roots++;
            assert_int_equal(span->kind, SERVER);
            assert_string_equal(played->spans[i].service, "edge");
            continue;
        }
        const struct played_span *parent = find(played, span);
        assert_non_null(parent);
        assert_true(parent->span->start_time_unix_nano <= span->start_time_unix_nano);
        assert_true(parent->span->end_time_unix_nano >= span->end_time_unix_nano);
        if (span->kind == CLIENT) {
            assert_int_equal(parent->span->kind, SERVER);
            assert_string_equal(parent->service, played->spans[i].service);
            continue;
        }
        assert_int_equal(parent->span->kind, CLIENT);
        assert_string_not_equal(parent->service, played->spans[i].service);
        assert_string_equal(parent->span->name, span->name);
        assert_int_equal(failed(parent->span), failed(span));
        const char *cluster = attribute(parent->span->attributes, parent->span->n_attributes, "upstream_cluster.name");
        if (cluster != NULL) assert_string_equal(cluster, played->spans[i].service);
    }
    return roots;
}

/* Counts the spans again and holds them against the truth, which knows names only with {id} for what looks like one. */
static void check_truth(const struct played *played) {
    const struct weir_emit_truth *truth = &played->play.truth;
    uint64_t seen = 0;
    for (uint32_t o = 0; o < truth->mesh->operation_count; o++) {
        const struct weir_emit_operation *operation = &truth->mesh->operations[o];
        char name[64], templated[128];
        weir_emit_operation_name(operation, name, sizeof name);
        struct weir_emit_totals own = {0}, *all = &truth->operations[o];
        for (uint32_t i = 0; i < played->span_count; i++) {
            const Span *span = played->spans[i].span;
            if (span->kind != (operation->client ? CLIENT : SERVER)) continue;
            if (strcmp(played->spans[i].service, truth->mesh->names[operation->service]) != 0) continue;
            size_t size =
                weir_operation_template((const uint8_t *)span->name, strlen(span->name), templated, sizeof templated);
            if (size != strlen(name) || memcmp(templated, name, size) != 0) continue;
            const char *cluster = attribute(span->attributes, span->n_attributes, "upstream_cluster.name");
            if (operation->client && strcmp(cluster, operation->peer) != 0) continue;
            uint64_t ns = span->end_time_unix_nano - span->start_time_unix_nano;
            uint32_t bucket = 0;
            while (bucket < WEIR_EMIT_BOUNDS && ns > weir_emit_bounds_ns[bucket])
                bucket++;
            own.spans++;
            own.errors += failed(span);
            own.ns += ns;
            own.buckets[bucket]++;
        }
        assert_memory_equal(&own, all, sizeof own);
        seen += own.spans;
    }
    assert_int_equal(seen, played->span_count);
    assert_int_equal(seen, truth->spans);
}

static void check_edges(const struct played *played) {
    const struct weir_emit_truth *truth = &played->play.truth;
    uint64_t pairs = 0, servers = 0;
    for (uint32_t e = 0; e < truth->mesh->edge_count; e++) {
        const char *client = truth->mesh->names[truth->mesh->edges[e].client],
                   *server = truth->mesh->names[truth->mesh->edges[e].server];
        struct weir_emit_edge_totals own = {0};
        for (uint32_t i = 0; i < played->span_count; i++) {
            const Span *span = played->spans[i].span;
            if (span->kind != SERVER || span->parent_span_id.len == 0 || strcmp(played->spans[i].service, server) != 0)
                continue;
            const struct played_span *caller = find(played, span);
            if (strcmp(caller->service, client) != 0) continue;
            own.requests++;
            own.errors += failed(span);
            own.server_ns += span->end_time_unix_nano - span->start_time_unix_nano;
            own.client_ns += caller->span->end_time_unix_nano - caller->span->start_time_unix_nano;
        }
        assert_memory_equal(&own, &truth->edges[e], sizeof own);
        pairs += own.requests;
    }
    for (uint32_t i = 0; i < played->span_count; i++)
        servers += played->spans[i].span->kind == SERVER && played->spans[i].span->parent_span_id.len > 0;
    assert_int_equal(pairs, servers);
}

static void test_a_seed_repeats_byte_for_byte(void **state) {
    (void)state;
    struct played one, two, other;
    PLAY(&one, "--spans", "3000", "--seed", "7", "--ids");
    PLAY(&two, "--spans", "3000", "--seed", "7", "--ids");
    PLAY(&other, "--spans", "3000", "--seed", "8", "--ids");
    assert_int_equal(one.bytes.size, two.bytes.size);
    assert_memory_equal(one.bytes.bytes, two.bytes.bytes, one.bytes.size);
    assert_true(other.bytes.size != one.bytes.size || memcmp(other.bytes.bytes, one.bytes.bytes, one.bytes.size) != 0);
    played_free(&one);
    played_free(&two);
    played_free(&other);
}

/* One row a command line: so many spans, roots, and everything adds up. */
static void test_trees_and_truth(void **state) {
    (void)state;
    static const struct {
        char *arguments[8];
        uint32_t spans, roots;
    } rows[] = {
        {{"--spans", "4000"}, 4000, 500},
        {{"--spans", "4001"}, 4001, 501}, /* the last trace is cut */
        {{"--spans", "4003", "--senders", "gateway"}, 4003, 501},
        {{"--traces", "300", "--spans-per-trace", "7", "--ids"}, 2100, 300},
        {{"--traces", "200", "--spans-per-trace", "1"}, 200, 200},
        {{"--traces", "20", "--spans-per-trace", "150", "--depth", "12", "--batch", "10"}, 3000, 20},
        {{"--traces", "200", "--services", "1"}, 1600, 200},
        {{"--traces", "200", "--services", "2", "--operations", "1"}, 1600, 200},
        {{"--spans", "4000", "--services", "40", "--operations", "9", "--ids"}, 4000, 500},
        {{"--spans", "4000", "--errors", "0.5", "--latency", "200ms:2"}, 4000, 500},
        {{"--spans", "2000", "--attributes", "64", "--batch", "1"}, 2000, 250},
        {{"--spans", "2000", "--rate", "500"}, 2000, 250},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char *argv[9] = {"emit"};
        int argc = 1;
        while (argc <= 8 && rows[i].arguments[argc - 1] != NULL) {
            argv[argc] = rows[i].arguments[argc - 1];
            argc++;
        }
        struct played played;
        play_all(&played, argc, argv);
        assert_int_equal(played.span_count, rows[i].spans);
        assert_int_equal(check_trees(&played), rows[i].roots);
        assert_int_equal(played.play.truth.traces, rows[i].roots);
        check_truth(&played);
        check_edges(&played);
        played_free(&played);
    }
}

static void test_requests_are_as_asked(void **state) {
    (void)state;
    struct played proxies, gateway;
    PLAY(&proxies, "--spans", "8000", "--batch", "64");
    PLAY(&gateway, "--spans", "8000", "--batch", "64", "--senders", "gateway");
    uint32_t full = 0;
    for (uint32_t i = 0; i < proxies.request_count; i++) {
        assert_int_equal(proxies.requests[i].resources, 1);
        assert_in_range(proxies.requests[i].spans, 1, 64);
        full += proxies.requests[i].spans == 64;
    }
    assert_true(proxies.request_count - full <= 10); /* at most one rest a service */
    for (uint32_t i = 0; i + 1 < gateway.request_count; i++) {
        assert_int_equal(gateway.requests[i].spans, 64);
        assert_true(gateway.requests[i].resources > 1);
    }
    assert_int_equal(gateway.request_count, 8000 / 64);
    played_free(&proxies);
    played_free(&gateway);
}

static void test_spans_are_as_large_as_said(void **state) {
    (void)state;
    struct played played;
    for (uint64_t seed = 1; seed < 6; seed++) {
        char text[8];
        snprintf(text, sizeof text, "%d", (int)seed);
        PLAY(&played, "--spans", "8000", "--seed", text);
        double average = (double)played.span_bytes / played.span_count;
        if (average < WEIR_EMIT_SPAN_BYTES - 10 || average > WEIR_EMIT_SPAN_BYTES + 10)
            fail_msg("seed %d: %.1f bytes a span", (int)seed, average);
        for (uint32_t i = 0; i < played.span_count; i++)
            assert_int_equal(played.spans[i].span->n_attributes, 8);
        played_free(&played);
    }
}

static void test_the_whole_mesh_plays(void **state) {
    (void)state;
    struct played played;
    PLAY(&played, "--spans", "40000", "--services", "30", "--operations", "7");
    for (uint32_t i = 0; i < 30 * 7; i++)
        assert_true(played.play.truth.operations[i].spans > 0);
    played_free(&played);
}

static void test_errors_are_about_as_many_as_asked(void **state) {
    (void)state;
    static const struct {
        char *share;
        double low, high;
    } rows[] = {{"0", 0, 0}, {"1", 1, 1}, {"0.05", 0.05, 0.15}}; /* failures of callees come on top */
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        struct played played;
        PLAY(&played, "--spans", "40000", "--errors", rows[r].share);
        uint32_t errors = 0;
        for (uint32_t i = 0; i < played.span_count; i++)
            errors += failed(played.spans[i].span);
        double share = (double)errors / played.span_count;
        assert_true(share >= rows[r].low && share <= rows[r].high);
        played_free(&played);
    }
}

static void test_consistent_sampling(void **state) {
    (void)state;
    struct played all, tenth;
    PLAY(&all, "--traces", "5000", "--seed", "3");
    PLAY(&tenth, "--traces", "5000", "--seed", "3", "--sample", "0.1");
    assert_int_equal(tenth.play.truth.spans, 40000);
    assert_int_equal(tenth.play.truth.sampled_spans, tenth.span_count);
    assert_in_range(tenth.span_count, 8 * 400, 8 * 600); /* 500 traces, five standard errors of 21 */
    assert_memory_equal(tenth.play.truth.operations, all.play.truth.operations,
                        all.play.mesh.operation_count * sizeof *all.play.truth.operations);
    assert_int_equal(check_trees(&tenth), tenth.span_count / 8);
    for (uint32_t i = 0; i < tenth.span_count; i++) {
        const Span *span = tenth.spans[i].span;
        assert_string_equal(span->trace_state, "ot=th:e6666666666666"); /* round(0.9 * 2^56) */
        uint64_t r = 0;
        for (int b = 9; b < 16; b++)
            r = r << 8 | span->trace_id.data[b];
        assert_true(r >= 0xe6666666666666);
    }
    for (uint32_t i = 0; i < all.span_count; i++)
        assert_string_equal(all.spans[i].span->trace_state, "");
    played_free(&all);
    played_free(&tenth);
}

static void test_independent_sampling_leaves_no_mark(void **state) {
    (void)state;
    struct played played;
    PLAY(&played, "--traces", "5000", "--sample-independent", "10%");
    assert_in_range(played.span_count, 8 * 400, 8 * 600);
    assert_int_equal(played.play.truth.spans, 40000);
    uint32_t low = 0;
    for (uint32_t i = 0; i < played.span_count; i++) {
        assert_string_equal(played.spans[i].span->trace_state, "");
        low += played.spans[i].span->trace_id.data[9] < 0x80;
    }
    assert_in_range(low, played.span_count / 3, played.span_count * 2 / 3); /* it says nothing about R */
    played_free(&played);
}

static void test_ids_stand_in_paths(void **state) {
    (void)state;
    struct played played;
    PLAY(&played, "--spans", "8000", "--ids");
    uint32_t templated = 0, distinct = 0;
    const char *last = "";
    for (uint32_t i = 0; i < played.span_count; i++) {
        const Span *span = played.spans[i].span;
        char out[128];
        size_t size = weir_operation_template((const uint8_t *)span->name, strlen(span->name), out, sizeof out);
        const char *path = strchr(span->name, '/'), *url = attribute(span->attributes, span->n_attributes, "http.url");
        assert_non_null(strstr(url, path)); /* the same id in both */
        if (memmem(out, size, "{id}", 4) == NULL) continue;
        templated++;
        distinct += strcmp(last, span->name) != 0;
        last = span->name;
    }
    assert_in_range(templated, 2000, 6000);
    assert_true(distinct > templated / 2);
    played_free(&played);
}

static void test_pacing(void **state) {
    (void)state;
    struct weir_emit_options options;
    struct weir_emit_play play;
    struct weir_buffer out = {0};
    bool help;
    uint32_t spans, sent = 0;
    assert_int_equal(
        weir_emit_options_parse(5, (char *[]){"emit", "--spans", "1000", "--rate", "100"}, &options, &help, NULL),
        WEIR_OK);
    assert_int_equal(weir_emit_play_init(&play, &options, NULL), WEIR_OK);
    play.now_ns = 1700000000000000000;
    for (uint64_t limit = 50; limit <= 1000; limit += 50) {
        enum weir_emit_next next;
        while ((next = weir_emit_play_next(&play, limit, &out, &spans)) == WEIR_EMIT_REQUEST)
            sent += spans;
        assert_int_equal(next, limit < 1000 ? WEIR_EMIT_LATER : WEIR_EMIT_END);
        assert_true(play.truth.spans < limit + 8);
        assert_true(sent + 108 >= limit); /* none waits longer than a second, here 100 spans, and a trace */
    }
    assert_int_equal(sent, 1000);
    weir_buffer_free(&out);
    weir_emit_play_free(&play);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_seed_repeats_byte_for_byte), cmocka_unit_test(test_trees_and_truth),
        cmocka_unit_test(test_requests_are_as_asked),        cmocka_unit_test(test_spans_are_as_large_as_said),
        cmocka_unit_test(test_the_whole_mesh_plays),         cmocka_unit_test(test_errors_are_about_as_many_as_asked),
        cmocka_unit_test(test_consistent_sampling),          cmocka_unit_test(test_independent_sampling_leaves_no_mark),
        cmocka_unit_test(test_ids_stand_in_paths),           cmocka_unit_test(test_pacing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
