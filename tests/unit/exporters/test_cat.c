/* `weir cat`: its lines read back by jansson, what is broken named, what is not broken printed. */
#include "exporters/file/cat.h"
#include "exporters/file/format.h"
#include "exporters/file/otlp_json.h"
#include "exporters/splice.h"
#include "spans.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <zstd.h>

#include <cmocka.h>

static char folder[64];

static int setup(void **state) {
    (void)state;
    strcpy(folder, "/tmp/weir-test-cat-XXXXXX");
    return mkdtemp(folder) == NULL;
}
static int teardown(void **state) {
    char command[128];
    (void)state;
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

/* ---- a file ---- */

static const uint8_t header[] = WEIR_FILE_HEADER;

static void put_frame(struct weir_buffer *file, const void *bytes, size_t size) {
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    assert_true(weir_buffer_room(file, ZSTD_compressBound(size)));
    file->size += ZSTD_compress2(zstd, file->bytes + file->size, ZSTD_compressBound(size), bytes, size);
    ZSTD_freeCCtx(zstd);
}
static void put_request(struct weir_buffer *file, const struct weir_buffer *request) {
    struct weir_buffer record = {0};
    for (int shift = 24; shift >= 0; shift -= 8)
        weir_buffer_byte(&record, (uint8_t)(request->size >> shift));
    weir_buffer_put(&record, request->bytes, request->size);
    put_frame(file, record.bytes, record.size);
    weir_buffer_free(&record);
}
static void put_mesh(struct weir_buffer *file, uint32_t spans) {
    struct weir_batch *batch = mesh_batch(spans);
    struct weir_splice splice = {0};
    struct weir_buffer request = {0};
    weir_splice_encode(&splice, batch, &request);
    put_request(file, &request);
    weir_splice_free(&splice);
    weir_buffer_free(&request);
    weir_batch_unref(batch);
}
static void save(const char *name, const struct weir_buffer *file) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *out = fopen(path, "w");
    assert_non_null(out);
    assert_int_equal(fwrite(file->bytes, 1, file->size, out), file->size);
    fclose(out);
}

/* ---- a run ---- */

struct result {
    int status;
    struct weir_buffer out, err; /* end in NUL */
};

static void slurp(const char *name, struct weir_buffer *to) {
    char path[128], bytes[4096];
    size_t got;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *in = fopen(path, "r");
    while ((got = fread(bytes, 1, sizeof bytes, in)) > 0)
        weir_buffer_put(to, bytes, got);
    weir_buffer_byte(to, 0);
    fclose(in);
}

/* In a process of its own, as it writes to descriptor 1. Names are below `folder`, unless they are options. */
static struct result run(const char *a, const char *b) {
    struct result result = {0};
    char paths[2][128], out[128], err[128], *argv[4] = {(char *)"cat", NULL, NULL, NULL};
    const char *names[2] = {a, b};
    int argc = 1, status;
    for (int i = 0; i < 2 && names[i] != NULL; i++) {
        snprintf(paths[i], sizeof paths[i], names[i][0] == '-' ? "%.0s%s" : "%s/%s", folder, names[i]);
        argv[argc++] = paths[i];
    }
    snprintf(out, sizeof out, "%s/.out", folder);
    snprintf(err, sizeof err, "%s/.err", folder);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        dup2(open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600), 1);
        dup2(open(err, O_CREAT | O_TRUNC | O_WRONLY, 0600), 2);
        int code = weir_cat_main(argc, argv);
        fflush(NULL);
        _exit(code);
    }
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    result.status = WEXITSTATUS(status);
    slurp(".out", &result.out);
    slurp(".err", &result.err);
    return result;
}
static void result_free(struct result *result) {
    weir_buffer_free(&result->out);
    weir_buffer_free(&result->err);
}
/* Every line is an object; how many there are. */
static unsigned lines_of(const struct weir_buffer *out, json_t **last) {
    unsigned count = 0;
    json_error_t error;
    for (const char *at = (const char *)out->bytes, *end; (end = strchr(at, '\n')) != NULL; at = end + 1) {
        json_t *object = json_loadb(at, (size_t)(end - at), JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &error);
        if (!json_is_object(object)) fail_msg("%s in %.*s", error.text, (int)(end - at), at);
        if (last != NULL) {
            json_decref(*last);
            *last = json_incref(object);
        }
        json_decref(object);
        count++;
    }
    return count;
}
static void run_gives(const char *name, int status, unsigned lines, const char *said) {
    struct result result = run(name, NULL);
    if (result.status != status) fail_msg("%s: exit %d: %s", name, result.status, (const char *)result.err.bytes);
    assert_int_equal(lines_of(&result.out, NULL), lines);
    if (said == NULL) {
        assert_string_equal((const char *)result.err.bytes, "");
    } else if (strstr((const char *)result.err.bytes, said) == NULL) {
        fail_msg("%s: no \"%s\" in: %s", name, said, (const char *)result.err.bytes);
    }
    result_free(&result);
}

/* ---- tests ---- */

static void files_and_folders(void **state) {
    (void)state;
    struct weir_buffer file = {0};
    weir_buffer_put(&file, header, sizeof header);
    put_mesh(&file, 3);
    put_mesh(&file, 4);
    save("traces-20260102T000000Z-10.otlp.zst", &file);
    weir_buffer_clear(&file);
    weir_buffer_put(&file, header, sizeof header);
    save("traces-20260102T000000Z-9.otlp.zst", &file); /* a header alone: just opened */
    run_gives("traces-20260102T000000Z-9.otlp.zst", 0, 0, NULL);
    put_mesh(&file, 1);
    save("traces-20260102T000000Z-9.otlp.zst", &file);
    save("notes.txt", &file); /* not of this folder's traces */
    run_gives("traces-20260102T000000Z-10.otlp.zst", 0, 7, NULL);
    run_gives("", 0, 8, NULL);
    struct result result = run("traces-20260102T000000Z-9.otlp.zst", "");
    assert_int_equal(result.status, 0);
    assert_int_equal(lines_of(&result.out, NULL), 9);
    result_free(&result);
    weir_buffer_clear(&file); /* by another program: no header, two records in a frame */
    struct weir_buffer records = {0};
    weir_buffer_put(&records, "\0\0\0\0\0\0\0\0", 8);
    put_frame(&file, records.bytes, records.size);
    put_mesh(&file, 2);
    save("plain", &file);
    run_gives("plain", 0, 2, NULL);
    weir_buffer_clear(&file);
    save("empty", &file);
    run_gives("empty", 0, 0, NULL);
    weir_buffer_free(&records);
    weir_buffer_free(&file);
}

static void wrong_usage(void **state) {
    (void)state;
    struct result result = run("--help", NULL);
    assert_non_null(strstr((const char *)result.out.bytes, "usage: weir cat PATH..."));
    result_free(&result);
    run_gives("--wat", 2, 0, "usage: weir cat PATH...");
    result = run(NULL, NULL);
    assert_int_equal(result.status, 2);
    result_free(&result);
    run_gives("nowhere", 1, 0, "nowhere: No such file or directory");
    run_gives("", 0, 0, "no traces-*.otlp.zst in this folder");
}

static void broken_files(void **state) {
    (void)state;
    struct weir_buffer file = {0}, bad = {0}, record = {0};
    weir_buffer_put(&file, header, sizeof header);
    put_mesh(&file, 3);
    size_t second = file.size;
    put_mesh(&file, 4);
    size_t third = file.size;
    put_mesh(&file, 5);
    char said[64];

    for (size_t cut = third + 1; cut < file.size; cut += 37) { /* torn at any place: a crash while writing */
        weir_buffer_clear(&bad);
        weir_buffer_put(&bad, file.bytes, cut);
        save("torn", &bad);
        snprintf(said, sizeof said, "/torn: offset %zu: frame is cut short", third);
        run_gives("torn", 1, 7, said);
    }
    for (size_t at = second; at < third; at += 41) { /* a bit flipped: its own frame is lost and no other */
        weir_buffer_clear(&bad);
        weir_buffer_put(&bad, file.bytes, file.size);
        bad.bytes[at] ^= 0x10;
        save("flipped", &bad);
        snprintf(said, sizeof said, "/flipped: offset %zu: ", second);
        run_gives("flipped", 1, 8, said);
    }
    weir_buffer_clear(&bad); /* rubbish between */
    weir_buffer_put(&bad, file.bytes, second);
    for (int i = 0; i < 300000; i++)
        weir_buffer_byte(&bad, (uint8_t)(i * 7));
    weir_buffer_put(&bad, file.bytes + second, file.size - second);
    save("rubbish", &bad);
    snprintf(said, sizeof said, "offset %zu: ", second);
    run_gives("rubbish", 1, 12, said);
    run_gives("rubbish", 1, 12, "300000 bytes skipped");

    weir_buffer_clear(&bad); /* a record that is longer than its frame */
    weir_buffer_put(&record, "\0\0\1\0abc", 7);
    put_frame(&bad, record.bytes, record.size);
    put_mesh(&bad, 2);
    save("long", &bad);
    run_gives("long", 1, 2, "offset 0: record is longer than its frame");

    weir_buffer_clear(&bad);
    weir_buffer_clear(&record); /* one broken span of two in a sound frame */
    struct weir_buffer request = {0}, resource_spans = {0}, scope_spans = {0}, span = {0};
    bytes_field(&scope_spans, 2,
                "\x2a\x05"
                "ab",
                4);
    span_head(&span, &a_view, "good");
    message(&scope_spans, 2, &span);
    message(&resource_spans, 2, &scope_spans);
    message(&request, 1, &resource_spans);
    put_request(&bad, &request);
    save("span", &bad);
    run_gives("span", 1, 1, "offset 0: resource_spans[0].scope_spans[0].spans[0]: length past the end of its message");

    weir_buffer_clear(&bad);
    weir_buffer_put(&bad, header, sizeof header);
    bad.bytes[WEIR_FILE_VERSION_AT] = 2;
    put_mesh(&bad, 2);
    save("newer", &bad);
    run_gives("newer", 1, 0, "offset 0: written by another version of the format");

    weir_buffer_free(&file);
    weir_buffer_free(&bad);
    weir_buffer_free(&record);
    weir_buffer_free(&request);
    weir_buffer_free(&resource_spans);
    weir_buffer_free(&scope_spans);
    weir_buffer_free(&span);
}

/* Every member of OTLP/JSON, as the specification writes it. */
static void the_line(void **state) {
    (void)state;
    struct weir_buffer request = {0}, group = {0}, groups = {0}, body = {0}, resource = {0}, scope = {0}, value = {0},
                       list = {0}, event = {0}, link = {0}, status = {0};
    struct weir_otlp_json_counts counts = {0};
    struct weir_error err;
    pair_text(&resource, 1, "service.name", "pay\"ments\x02");
    text_field(&scope, 1, "envoy");
    span_head(&body, &a_view, "GET \xff");
    text_field(&body, 3, "a=b");
    pair_int(&body, 9, "int", INT64_MIN);
    pair_double(&body, 9, "double", 0.25);
    pair_double(&body, 9, "nan", NAN);
    pair_bool(&body, 9, "bool", false);
    any_text(&value, "x");
    message(&list, 1, &value);
    weir_buffer_clear(&value);
    message(&value, 5, &list);
    pair_field(&body, 9, "list", &value);
    weir_buffer_clear(&value);
    bytes_field(&value, 7, "\0\1\2\3", 4);
    pair_field(&body, 9, "bytes", &value);
    fixed_field(&event, 1, 18446744073709551615ull);
    text_field(&event, 2, "e");
    message(&body, 11, &event);
    bytes_field(&link, 1, "\xab\xcd", 2);
    message(&body, 13, &link);
    text_field(&status, 2, "no");
    uint_field(&status, 3, 2);
    message(&body, 15, &status);
    uint_field(&body, 10, 7);
    message(&groups, 2, &body); /* spans before the scope, the resource last: order is free */
    message(&groups, 1, &scope);
    message(&group, 2, &groups);
    message(&group, 1, &resource);
    message(&request, 1, &group);
    struct weir_buffer out = {0};
    if (weir_otlp_json_lines(request.bytes, request.size, &out, &counts, &err) != WEIR_OK) fail_msg("%s", err.text);
    weir_buffer_byte(&out, 0);
    assert_string_equal(
        (const char *)out.bytes,
        "{\"service\":\"pay\\\"ments\\u0002\",\"traceId\":\"0102030405060708090a0b0c0d0e0f10\",\"spanId\":"
        "\"1112131415161718\",\"traceState\":\"a=b\","
        "\"parentSpanId\":\"2122232425262728\",\"name\":\"GET "
        "\xef\xbf\xbd\",\"kind\":2,\"startTimeUnixNano\":\"1700000000123456789\",\"endTimeUnixNano\":"
        "\"1700000000124956789\","
        "\"attributes\":[{\"key\":\"int\",\"value\":{\"intValue\":\"-9223372036854775808\"}},{\"key\":\"double\","
        "\"value\":{\"doubleValue\":0.25}},"
        "{\"key\":\"nan\",\"value\":{\"doubleValue\":\"NaN\"}},{\"key\":\"bool\",\"value\":{\"boolValue\":false}},"
        "{\"key\":\"list\",\"value\":{\"arrayValue\":{\"values\":[{\"stringValue\":\"x\"}]}}},{\"key\":\"bytes\","
        "\"value\":{\"bytesValue\":\"AAECAw==\"}}],"
        "\"droppedAttributesCount\":7,\"events\":[{\"timeUnixNano\":\"18446744073709551615\",\"name\":\"e\"}],"
        "\"links\":[{\"traceId\":\"abcd\"}],"
        "\"status\":{\"message\":\"no\",\"code\":2},\"resource\":{\"attributes\":[{\"key\":\"service.name\",\"value\":{"
        "\"stringValue\":\"pay\\\"ments\\u0002\"}}]},"
        "\"scope\":{\"name\":\"envoy\"}}\n");
    assert_int_equal(counts.spans, 1);
    struct weir_buffer *all[] = {&request, &group, &groups, &body, &resource, &scope,
                                 &value,   &list,  &event,  &link, &status,   &out};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
        weir_buffer_free(all[i]);
}

/* Whatever the bytes are, a line is valid JSON. */
static void any_bytes(void **state) {
    (void)state;
    struct weir_batch *batch = mesh_batch(4);
    struct weir_splice splice = {0};
    struct weir_buffer request = {0}, out = {0};
    weir_splice_encode(&splice, batch, &request);
    uint64_t random = 88172645463325252ull;
    unsigned lines = 0;
    for (int i = 0; i < 20000; i++) {
        struct weir_otlp_json_counts counts = {0};
        struct weir_error err;
        uint8_t bytes[4096];
        memcpy(bytes, request.bytes, request.size);
        for (int k = 0; k < 1 + i % 8; k++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            bytes[random % request.size] = (uint8_t)(random >> 32);
        }
        weir_buffer_clear(&out);
        enum weir_status status = weir_otlp_json_lines(bytes, request.size, &out, &counts, &err);
        assert_true(status == WEIR_OK || (status == WEIR_INVALID && err.text[0] != 0));
        weir_buffer_byte(&out, 0);
        unsigned count = lines_of(&out, NULL);
        assert_int_equal(count, counts.spans);
        lines += count;
    }
    assert_true(lines > 40000); /* most are still there */
    weir_splice_free(&splice);
    weir_buffer_free(&request);
    weir_buffer_free(&out);
    weir_batch_unref(batch);
}

static void depth_is_bounded(void **state) {
    (void)state;
    struct weir_buffer value = {0}, outer = {0}, list = {0}, span = {0};
    for (int i = 0; i < 5000; i++) {
        weir_buffer_clear(&list);
        message(&list, 1, &value);
        weir_buffer_clear(&value);
        message(&value, 5, &list);
    }
    pair_field(&span, 9, "deep", &value);
    message(&outer, 2, &span);
    weir_buffer_clear(&list);
    message(&list, 2, &outer);
    weir_buffer_clear(&outer);
    message(&outer, 1, &list);
    struct weir_otlp_json_counts counts = {0};
    struct weir_error err;
    weir_buffer_clear(&value);
    assert_int_equal(weir_otlp_json_lines(outer.bytes, outer.size, &value, &counts, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "nested too deep"));
    assert_int_equal(value.size, 0);
    weir_buffer_free(&value);
    weir_buffer_free(&outer);
    weir_buffer_free(&list);
    weir_buffer_free(&span);
}

/* `weir cat FOLDER | head -1` */
static void a_reader_that_goes_away(void **state) {
    (void)state;
    struct weir_buffer file = {0};
    char path[128];
    int pipes[2], status;
    for (int i = 0; i < 5; i++)
        put_mesh(&file, 1000);
    save("many", &file);
    snprintf(path, sizeof path, "%s/many", folder);
    char *argv[] = {(char *)"cat", path, NULL};
    assert_int_equal(pipe(pipes), 0);
    pid_t child = fork();
    if (child == 0) {
        close(pipes[0]);
        dup2(pipes[1], 1);
        _exit(weir_cat_main(2, argv));
    }
    close(pipes[1]);
    char some[100];
    assert_true(read(pipes[0], some, sizeof some) > 0);
    close(pipes[0]);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    weir_buffer_free(&file);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(files_and_folders),       WITH(wrong_usage),           WITH(broken_files),
        cmocka_unit_test(the_line),    cmocka_unit_test(any_bytes), cmocka_unit_test(depth_is_bounded),
        WITH(a_reader_that_goes_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
