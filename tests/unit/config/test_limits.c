#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/config/limits.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MIB (1ull << 20)

static char root[64];

/* Writes root/path, with the folders on the way. */
static void put(const char *path, const char *text) {
    char full[256];
    snprintf(full, sizeof full, "%s/%s", root, path);
    for (char *p = full + strlen(root) + 1; *p != 0; p++) {
        if (*p != '/') continue;
        *p = 0;
        mkdir(full, 0700);
        *p = '/';
    }
    FILE *file = fopen(full, "w");
    assert_non_null(file);
    fputs(text, file);
    fclose(file);
}

static int make_root(void **state) {
    (void)state;
    strcpy(root, "/tmp/weir-cgroup-XXXXXX");
    return mkdtemp(root) == NULL ? -1 : 0;
}

static int remove_root(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf '%s'", root);
    return system(command);
}

static uint64_t limit(const char **what) {
    char membership[128];
    snprintf(membership, sizeof membership, "%s/membership", root);
    return weir_memory_limit(root, membership, what);
}

static uint32_t cpus(void) {
    char membership[128];
    snprintf(membership, sizeof membership, "%s/membership", root);
    return weir_cpu_limit(root, membership);
}

static void test_memory_v2(void **state) {
    (void)state;
    const char *what = NULL;
    put("membership", "0::/pod/weir\n");
    put("pod/weir/memory.max", "max\n");
    put("pod/memory.max", "104857600\n");
    assert_int_equal(limit(&what), 100 * MIB);
    assert_string_equal(what, "the memory limit of the cgroup");
    put("pod/weir/memory.max", "52428800\n");
    assert_int_equal(limit(&what), 50 * MIB);
    put("memory.max", "10485760\n"); /* the lowest on the way up counts */
    assert_int_equal(limit(&what), 10 * MIB);
}

static void test_memory_inside_a_container(void **state) {
    (void)state;
    const char *what = NULL;
    put("membership", "0::/not/mounted/here\n");
    put("memory.max", "104857600\n");
    assert_int_equal(limit(&what), 100 * MIB);
    put("membership", "0::/\n");
    assert_int_equal(limit(&what), 100 * MIB);
}

static void test_memory_v1(void **state) {
    (void)state;
    const char *what = NULL;
    put("membership", "11:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n");
    put("memory/a/b/memory.limit_in_bytes", "9223372036854771712\n");
    put("memory/a/memory.limit_in_bytes", "20971520\n");
    put("memory/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit(&what), 20 * MIB);
    assert_string_equal(what, "the memory limit of the cgroup");
}

static void test_memory_unlimited(void **state) {
    (void)state;
    const char *what = NULL;
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    assert_int_equal(limit(&what), physical); /* no membership at all */
    assert_string_equal(what, "the memory of this machine");
    put("membership", "4:memory:/a\n");
    put("memory/a/memory.limit_in_bytes", "9223372036854771712\n");
    assert_int_equal(limit(&what), physical);
    put("membership", "no colon\n4:memory\n\n0::");
    assert_int_equal(limit(&what), physical);
}

static void test_cpus(void **state) {
    (void)state;
    uint32_t all = cpus();
    assert_true(all >= 1);
    put("membership", "0::/pod\n");
    put("pod/cpu.max", "max 100000\n");
    assert_int_equal(cpus(), all);
    put("pod/cpu.max", "50000 100000\n");
    assert_int_equal(cpus(), 1);
    put("pod/cpu.max", "6400000 100000\n");
    assert_int_equal(cpus(), all < 64 ? all : 64);
    if (all >= 2) {
        put("pod/cpu.max", "110000 100000\n"); /* rounded up */
        assert_int_equal(cpus(), 2);
    }
    put("membership", "3:cpuacct,cpu:/v1\n");
    put("cpu/v1/cpu.cfs_quota_us", "-1\n");
    put("cpu/v1/cpu.cfs_period_us", "100000\n");
    assert_int_equal(cpus(), all);
    put("cpu/v1/cpu.cfs_quota_us", "20000\n");
    assert_int_equal(cpus(), 1);
}

static enum weir_status parse(const char *name, const char *text, uint64_t memory, struct weir_config **config,
                              struct weir_error *err) {
    const struct weir_machine machine = {
        .host = "127.0.0.1", .lanes = 2, .memory_bytes = memory, .memory_what = "the memory limit of the cgroup"};
    *config = NULL;
    return weir_config_parse(name, (const uint8_t *)text, strlen(text), &machine, config, err);
}

static void test_bounds_that_exceed_the_memory(void **state) {
    (void)state;
    struct weir_config *config;
    struct weir_error err = {0};
    const char *text =
        "memory:\n  intake: 300MiB\nexporters:\n  file:\n    memory_bytes: 512MiB\n  file/b: { directory: b }\n"
        "receivers: { grpc: {} }\n";
    assert_int_equal(parse("weir.yaml", text, 512 * MIB, &config, &err), WEIR_INVALID);
    /* 300 + 512 + 4 (file/b, shrunk) + 2 + 2 x 41.2 + 12 + 8 */
    assert_string_equal(
        err.text, "weir.yaml:5: all bounds together are 920MiB, the memory limit of the cgroup is 512MiB; the largest: "
                  "exporters.file.memory_bytes 512MiB (line 5), memory.intake 300MiB (line 2), aggregate.series_max of "
                  "all lanes 82MiB");
    assert_int_equal(parse("weir.yaml", text, 941 * MIB, &config, &err), WEIR_OK);
    assert_int_equal(config->exporters[1].memory_bytes, 16 * MIB);
    weir_config_free(config);
    assert_int_equal(parse("weir.yaml", text, 1024 * MIB, &config, &err), WEIR_OK);
    assert_int_equal(config->exporters[1].memory_bytes, 64 * MIB);
    weir_config_free(config);
    assert_int_equal(parse("weir.yaml", text, 0, &config, &err), WEIR_OK); /* unknown: not checked */
    weir_config_free(config);
    /* Nothing of it is the file's: its first line has to do. */
    assert_int_equal(parse("weir.yaml", "lanes: 8\nreceivers: { grpc: }\n", 32 * MIB, &config, &err), WEIR_INVALID);
    assert_string_equal(
        err.text, "weir.yaml:1: all bounds together are 402MiB, the memory limit of the cgroup is 32MiB; the largest: "
                  "aggregate.series_max of all lanes 330MiB, aggregate.edges_max of all lanes 48MiB, batch.max_bytes "
                  "of all lanes "
                  "8MiB");
}

static void test_defaults_shrink(void **state) {
    (void)state;
    struct weir_config *config;
    struct weir_error err = {0};
    assert_int_equal(parse("", "", 128 * MIB, &config, &err), WEIR_OK);
    assert_true(weir_config_memory(config, 2) <= 128 * MIB);
    assert_int_equal(config->intake_bytes, 4 * MIB);
    weir_config_free(config);
    /* Without a file it runs wherever it is put. */
    assert_int_equal(parse("", "", 16 * MIB, &config, &err), WEIR_OK);
    assert_int_equal(config->intake_bytes, 4 * MIB);
    assert_int_equal(config->exporters[0].memory_bytes, 4 * MIB);
    assert_int_equal(config->grpc.max_message_bytes, 4 * MIB);
    weir_config_free(config);
}

static void test_the_sum(void **state) {
    (void)state;
    struct weir_config *config;
    struct weir_error err = {0};
    assert_int_equal(parse("w",
                           "exporters: {}\naggregate: { service_graph: false, series_max: 2000, latency_buckets: [1] "
                           "}\nmemory: { names: 1024, intake: 1MiB }\n"
                           "receivers: {}\n",
                           0, &config, &err),
                     WEIR_OK);
    assert_int_equal(weir_config_memory(config, 2), MIB + 2 * 2000 * (320 + 8) + 1024 * 128);
    weir_config_free(config);
    /* The largest of everything stays below 2^63. */
    char text[2048] = "lanes: 64\nmemory: { intake: 1TiB, names: 16777216 }\naggregate: { series_max: 10000000, "
                      "edges_max: 16777216 }\n"
                      "batch: { max_bytes: 256MiB }\nexporters:\n";
    for (int i = 0; i < 16; i++)
        snprintf(text + strlen(text), 80, "  file/%d: { directory: ./%d, memory_bytes: 1TiB }\n", i, i);
    assert_int_equal(parse("w", text, 0, &config, &err), WEIR_OK);
    assert_true(weir_config_memory(config, 64) > 17ull << 40 && weir_config_memory(config, 64) < 18ull << 40);
    weir_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_memory_v2, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_memory_inside_a_container, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_memory_v1, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_memory_unlimited, make_root, remove_root),
        cmocka_unit_test_setup_teardown(test_cpus, make_root, remove_root),
        cmocka_unit_test(test_bounds_that_exceed_the_memory),
        cmocka_unit_test(test_defaults_shrink),
        cmocka_unit_test(test_the_sum),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
