/* The file exporter: what it writes is read back by zstd and protobuf's own shape, its bounds hold, its failures are
 * retries. */
#include "exporters/exporter.h"
#include "exporters/file/format.h"
#include "exporters/file/reader.h"
#include "exporters/file/store.h"
#include "exporters/splice.h"
#include "spans.h"

#include <dirent.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

struct fixture {
    char folder[64];
    uint64_t mono_ns, unix_ns;
    struct weir_clock clock;
    struct weir_metrics *metrics;
    struct weir_exporter_config config;
    struct weir_exporter_env env;
    /* the last settlement */
    struct weir_ticket ticket;
    unsigned settled;
    enum weir_settlement how;
    char why[256];
};

static uint64_t mono(void *self) {
    return ((struct fixture *)self)->mono_ns;
}
static uint64_t wall(void *self) {
    return ((struct fixture *)self)->unix_ns;
}
static struct fixture *now; /* settle() has no self of its own */

static void settle(struct weir_ticket *ticket, enum weir_settlement how, uint64_t retry_after_ns, const char *why) {
    (void)retry_after_ns;
    assert_ptr_equal(ticket, &now->ticket);
    now->settled++;
    now->how = how;
    snprintf(now->why, sizeof now->why, "%s", why != NULL ? why : "");
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weir-test-file-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    f->mono_ns = 1000 * WEIR_S;
    f->unix_ns = 1700000000ull * WEIR_S; /* 2023-11-14T22:13:20Z */
    f->clock = (struct weir_clock){mono, wall, f};
    f->metrics = weir_metrics_new();
    f->env = (struct weir_exporter_env){.metrics = f->metrics, .clock = &f->clock};
    strcpy(f->config.type, "file");
    strcpy(f->config.name, "file/test");
    snprintf(f->config.file.directory, sizeof f->config.file.directory, "%s/a/traces", f->folder);
    f->config.file.max_file_bytes = 1 << 20;
    f->config.file.max_total_bytes = 4 << 20;
    f->config.file.max_file_age_ns = 3600 * WEIR_S;
    f->config.file.compression_level = 1;
    f->ticket.settle = settle;
    now = f;
    *state = f;
    return 0;
}

static int names_of(const char *folder, char names[][256], int max) {
    struct dirent **entries;
    int count = scandir(folder, &entries, NULL, alphasort), n = 0;
    for (int i = 0; i < count; i++) {
        if (entries[i]->d_name[0] != '.' && n < max) snprintf(names[n++], 256, "%s", entries[i]->d_name);
        free(entries[i]);
    }
    if (count >= 0) free(entries);
    return n;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    char command[256];
    weir_metrics_free(f->metrics);
    snprintf(command, sizeof command, "chmod -R u+w %s && rm -rf %s", f->folder, f->folder);
    int failed = system(command);
    free(f);
    return failed;
}

static void *open_file(struct fixture *f) {
    void *self = NULL;
    struct weir_error err;
    if (weir_export_file.open(&self, &f->config, &f->env, &err) != WEIR_OK) fail_msg("%s", err.text);
    return self;
}

static void send(struct fixture *f, void *self, const struct weir_batch *batch, enum weir_settlement want) {
    unsigned before = f->settled;
    weir_export_file.send(self, batch, &f->ticket);
    assert_int_equal(f->settled, before + 1);
    if (f->how != want) fail_msg("settled as %d: %s", f->how, f->why);
}

struct found {
    int fd;
    struct weir_buffer requests;
    unsigned frames, broken;
};
static ssize_t read_fd(void *self, void *bytes, size_t size) {
    return read(((struct found *)self)->fd, bytes, size < 1000 ? size : 1000); /* in small pieces */
}
static int on_request(void *self, const uint8_t *bytes, size_t size, uint64_t offset) {
    struct found *found = self;
    (void)offset;
    weir_buffer_put(&found->requests, bytes, size);
    found->frames++;
    return 0;
}
static void on_broken(void *self, uint64_t offset, const char *why) {
    (void)offset;
    (void)why;
    ((struct found *)self)->broken++;
}

static void read_back(struct fixture *f, struct found *found) {
    char names[64][256], path[768];
    int count = names_of(f->config.file.directory, names, 64);
    struct weir_reader reader = {.self = found, .read = read_fd, .request = on_request, .broken = on_broken};
    for (int i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%.255s/%.255s", f->config.file.directory, names[i]);
        found->fd = open(path, O_RDONLY);
        assert_true(found->fd >= 0);
        weir_reader_run(&reader);
        close(found->fd);
    }
}

static void written_is_read(void **state) {
    struct fixture *f = *state;
    struct weir_batch *batch = mesh_batch(300);
    void *self = open_file(f);
    char names[4][256];
    assert_int_equal(names_of(f->config.file.directory, names, 4), 0); /* no file before the first batch */
    for (int i = 0; i < 3; i++)
        send(f, self, batch, WEIR_DELIVERED);
    weir_export_file.close(self);
    assert_int_equal(names_of(f->config.file.directory, names, 4), 1);
    assert_string_equal(names[0], "traces-20231114T221320Z-0.otlp.zst");

    struct found found = {0};
    struct weir_splice splice = {0};
    struct weir_buffer want = {0};
    read_back(f, &found);
    for (int i = 0; i < 3; i++)
        assert_int_equal(weir_splice_encode(&splice, batch, &want), WEIR_OK);
    assert_int_equal(found.frames, 3);
    assert_int_equal(found.broken, 0);
    assert_int_equal(found.requests.size, want.size);
    assert_memory_equal(found.requests.bytes, want.bytes, want.size);
    weir_splice_free(&splice);
    weir_buffer_free(&want);
    weir_buffer_free(&found.requests);
    weir_batch_unref(batch);
}

/* The zstd program reads it, and finds the records of 4 bytes length and a request. */
static void zstd_reads_it(void **state) {
    struct fixture *f = *state;
    struct weir_batch *batch = mesh_batch(10);
    void *self = open_file(f);
    send(f, self, batch, WEIR_DELIVERED);
    send(f, self, batch, WEIR_DELIVERED);
    weir_export_file.close(self);
    char command[512];
    snprintf(command, sizeof command, "zstd -dcq %s/*.otlp.zst", f->config.file.directory);
    FILE *pipe = popen(command, "r");
    uint8_t text[65536];
    size_t size = fread(text, 1, sizeof text, pipe), records = 0;
    assert_int_equal(pclose(pipe), 0);
    for (size_t at = 0; at < size; records++) {
        at += 4 + ((size_t)text[at] << 24 | (size_t)text[at + 1] << 16 | (size_t)text[at + 2] << 8 | text[at + 3]);
        assert_true(at <= size);
    }
    assert_int_equal(records, 2);
    weir_batch_unref(batch);
}

static void rotates_by_size_and_bounds_the_total(void **state) {
    struct fixture *f = *state;
    struct weir_batch *batch = mesh_batch(2000);
    f->config.file.max_file_bytes = 200000;
    f->config.file.max_total_bytes = 500000;
    void *self = open_file(f);
    uint64_t largest = 0, total = 0;
    char names[64][256], path[768];
    for (int i = 0; i < 40; i++) {
        f->unix_ns += i % 2 == 0 ? 0 : WEIR_S;
        send(f, self, batch, WEIR_DELIVERED);
        total = 0;
        int count = names_of(f->config.file.directory, names, 64);
        for (int k = 0; k < count; k++) {
            struct stat info;
            snprintf(path, sizeof path, "%.255s/%.255s", f->config.file.directory, names[k]);
            assert_int_equal(stat(path, &info), 0);
            total += (uint64_t)info.st_size;
            if ((uint64_t)info.st_size > largest) largest = (uint64_t)info.st_size;
        }
        assert_true(total <= 500000);
    }
    assert_true(largest <= 200000 && largest > 100000);
    assert_true(total > 300000);
    struct weir_buffer page = {0};
    weir_metrics_expose(f->metrics, &page);
    weir_buffer_byte(&page, 0);
    char line[128];
    snprintf(line, sizeof line, "weir_file_bytes{exporter=\"file/test\"} %llu\n", (unsigned long long)total);
    assert_non_null(strstr((char *)page.bytes, line));
    assert_non_null(strstr((char *)page.bytes, "weir_file_removed_files_total{exporter=\"file/test\"} "));
    assert_null(strstr((char *)page.bytes, "weir_file_removed_files_total{exporter=\"file/test\"} 0\n"));
    weir_buffer_free(&page);
    assert_null(strstr(names[0], "T221320Z-0.")); /* the oldest is gone */
    struct found found = {0};
    read_back(f, &found);
    assert_int_equal(found.broken, 0);
    weir_buffer_free(&found.requests);
    weir_export_file.close(self);
    weir_batch_unref(batch);
}

static void rotates_by_age_and_removal(void **state) {
    struct fixture *f = *state;
    struct weir_batch *batch = mesh_batch(3);
    char names[4][256], path[768];
    void *self = open_file(f);
    send(f, self, batch, WEIR_DELIVERED);
    f->mono_ns += 3599 * WEIR_S;
    weir_export_file.drive(self, 0);
    send(f, self, batch, WEIR_DELIVERED);
    assert_int_equal(names_of(f->config.file.directory, names, 4), 1);
    f->mono_ns += WEIR_S;
    f->unix_ns += 3600 * WEIR_S;
    weir_export_file.drive(self, 0);
    send(f, self, batch, WEIR_DELIVERED);
    assert_int_equal(names_of(f->config.file.directory, names, 4), 2);
    assert_string_equal(names[1], "traces-20231114T231320Z-1.otlp.zst");
    for (int i = 0; i < 2; i++) { /* somebody tidies up: the next batch goes where it can be found */
        snprintf(path, sizeof path, "%.255s/%.255s", f->config.file.directory, names[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(f->config.file.directory), 0);
    weir_export_file.drive(self, 0);
    send(f, self, batch, WEIR_DELIVERED);
    assert_int_equal(names_of(f->config.file.directory, names, 4), 1);
    weir_export_file.close(self);

    self = open_file(f); /* a restart within the same second: no file is written twice */
    send(f, self, batch, WEIR_DELIVERED);
    assert_int_equal(names_of(f->config.file.directory, names, 4), 2);
    weir_export_file.close(self);
    weir_batch_unref(batch);
}

/* RLIMIT_FSIZE cuts a write short in the middle of a block, as a full disk does. */
static void a_full_disk_is_a_retry(void **state) {
    struct fixture *f = *state;
    struct weir_batch *batch = mesh_batch(500);
    void *self = open_file(f);
    send(f, self, batch, WEIR_DELIVERED);
    char names[4][256], path[768];
    names_of(f->config.file.directory, names, 4);
    snprintf(path, sizeof path, "%.255s/%.255s", f->config.file.directory, names[0]);
    struct stat before, after;
    stat(path, &before);
    struct rlimit old, small;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = old;
    small.rlim_cur = (rlim_t)before.st_size + 100;
    setrlimit(RLIMIT_FSIZE, &small);
    send(f, self, batch, WEIR_RETRY);
    assert_non_null(strstr(f->why, path));
    assert_non_null(strstr(f->why, "File too large"));
    stat(path, &after);
    assert_int_equal(after.st_size, before.st_size); /* the half block is cut off */
    send(f, self, batch, WEIR_RETRY);
    setrlimit(RLIMIT_FSIZE, &old);
    send(f, self, batch, WEIR_DELIVERED);
    weir_export_file.close(self);
    struct found found = {0};
    read_back(f, &found);
    assert_int_equal(found.frames, 2);
    assert_int_equal(found.broken, 0);
    weir_buffer_free(&found.requests);
    weir_batch_unref(batch);
}

/* Names that are taken, by whatever, are passed over. */
static void taken_names_are_passed_over(void **state) {
    struct fixture *f = *state;
    struct weir_store_limits limits = {1 << 20, 4 << 20, WEIR_S};
    struct weir_store *store = NULL;
    struct weir_error err;
    assert_int_equal(weir_store_open(&store, f->config.file.directory, &limits, &f->clock, &err), WEIR_OK);
    for (int i = 0; i < 3; i++) { /* broken links: neither files nor free */
        char path[768];
        snprintf(path, sizeof path, "%s/traces-20231114T221320Z-%d.otlp.zst", f->config.file.directory, i);
        assert_int_equal(symlink("/nowhere/at/all", path), 0);
    }
    assert_int_equal(weir_store_append(store, "x", 1, &err), WEIR_OK); /* O_EXCL takes none of them */
    assert_non_null(strstr(weir_store_current(store), "-3.otlp.zst"));
    weir_store_close(store);
}

/* A clock that is set back makes no file older than those before it, nor does a restart. */
static void a_clock_that_is_set_back(void **state) {
    struct fixture *f = *state;
    struct weir_store_limits limits = {1 << 20, 4 << 20, WEIR_S};
    struct weir_store *store = NULL;
    struct weir_error err;
    static const struct {
        int64_t clock_s;
        bool restart;
        const char *name;
    } rows[] = {
        {0, true, "/traces-20231114T221320Z-0.otlp.zst"},     {-3600, false, "/traces-20231114T221320Z-1.otlp.zst"},
        {-3600, true, "/traces-20231114T221320Z-2.otlp.zst"}, {20, false, "/traces-20231114T221340Z-3.otlp.zst"},
        {-10, true, "/traces-20231114T221340Z-4.otlp.zst"},   {20, true, "/traces-20231114T221340Z-5.otlp.zst"},
    };
    uint64_t truth = f->unix_ns;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        if (rows[i].restart) {
            weir_store_close(store);
            assert_int_equal(weir_store_open(&store, f->config.file.directory, &limits, &f->clock, &err), WEIR_OK);
        }
        f->unix_ns = truth + (uint64_t)(rows[i].clock_s * (int64_t)WEIR_S);
        assert_int_equal(weir_store_append(store, "x", 1, &err), WEIR_OK);
        assert_string_equal(strrchr(weir_store_current(store), '/'), rows[i].name);
        f->mono_ns += 2 * WEIR_S;
        weir_store_tick(store); /* its age is up: the next has a name of its own */
    }
    weir_store_close(store);
}

static void what_cannot_be_opened(void **state) {
    struct fixture *f = *state;
    struct weir_error err;
    void *self = NULL;
    char path[128];
    snprintf(path, sizeof path, "%s/plain", f->folder);
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    close(fd);
    strcpy(f->config.file.directory, path);
    assert_int_not_equal(weir_export_file.open(&self, &f->config, &f->env, &err), WEIR_OK);
    assert_non_null(strstr(err.text, path));
    assert_null(self);
    snprintf(f->config.file.directory, sizeof f->config.file.directory, "%s/plain/below", f->folder);
    assert_int_equal(weir_export_file.open(&self, &f->config, &f->env, &err), WEIR_IO);
    f->config.file.directory[0] = 0;
    assert_int_equal(weir_export_file.open(&self, &f->config, &f->env, &err), WEIR_INVALID);
    strcpy(f->config.file.directory, f->folder);
    f->config.file.max_total_bytes = f->config.file.max_file_bytes - 1;
    assert_int_equal(weir_export_file.open(&self, &f->config, &f->env, &err), WEIR_INVALID);
    assert_null(self);
    weir_export_file.close(NULL);
}

static void two_origins_in_one_batch(void **state) {
    (void)state;
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    struct weir_origin *a = origin_of_service("a"), *b = origin_of_service("b");
    struct weir_buffer body = {0}, out = {0};
    for (int i = 0; i < 6; i++) {
        char name[2] = {(char)('0' + i), 0};
        weir_buffer_clear(&body);
        text_field(&body, 5, name);
        add_span(batch, i % 2 ? b : a, &body, a_view);
    }
    struct weir_splice splice = {0};
    assert_int_equal(weir_splice_encode(&splice, batch, &out), WEIR_OK);
    /* resource_spans: a {0 2 4}, b {1 3 5} */
    char order[16] = "";
    struct weir_wire request = weir_wire_of(out.bytes, out.size);
    struct weir_wire_field group, scope, span, field;
    while (weir_wire_next(&request, &group)) {
        assert_int_equal(group.number, 1);
        struct weir_wire groups = weir_wire_of(group.bytes, group.value);
        while (weir_wire_next(&groups, &scope)) {
            if (scope.number != 2) continue;
            struct weir_wire scopes = weir_wire_of(scope.bytes, scope.value);
            while (weir_wire_next(&scopes, &span)) {
                struct weir_wire spans = weir_wire_of(span.bytes, span.value);
                assert_true(weir_wire_next(&spans, &field));
                strncat(order, (const char *)field.bytes, 1);
            }
        }
        strcat(order, ";");
    }
    assert_null(request.why);
    assert_string_equal(order, "024;135;");
    weir_splice_free(&splice);
    weir_buffer_free(&body);
    weir_buffer_free(&out);
    weir_batch_unref(batch);
    weir_origin_unref(a);
    weir_origin_unref(b);
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(written_is_read),
        WITH(zstd_reads_it),
        WITH(rotates_by_size_and_bounds_the_total),
        WITH(rotates_by_age_and_removal),
        WITH(a_full_disk_is_a_retry),
        WITH(taken_names_are_passed_over),
        WITH(a_clock_that_is_set_back),
        WITH(what_cannot_be_opened),
        cmocka_unit_test(two_origins_in_one_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
