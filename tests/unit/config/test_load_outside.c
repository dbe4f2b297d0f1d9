/* What a configuration takes from outside its file: variables of the environment, headers and secrets in files. */
#include "tests/unit/config/parsed.h"

static void test_variables(void **state) {
    (void)state;
    setenv("WEIR_TEST_PORT", "14317", 1);
    setenv("WEIR_TEST_EMPTY", "", 1);
    setenv("WEIR_TEST_SECRET", "hunter2-not-a-size", 1);
    setenv("WEIR_TEST_SYNTAX", "1 }\nlanez: {", 1);
    unsetenv("WEIR_TEST_UNSET");
    struct weir_config *config =
        accepts("lanes: ${env:WEIR_TEST_UNSET:-3}\n"
                "receivers: { grpc: { listen: '10.0.0.${env:WEIR_TEST_UNSET:-1}:${env:WEIR_TEST_PORT}' } }\n"
                "batch: { max_age: \"${env:WEIR_TEST_EMPTY:-5s}\" }\n"
                "exporters: { file: { directory: './$${env:X}/$5/${env:WEIR_TEST_EMPTY}a' } }\n");
    assert_int_equal(config->lanes, 3);
    assert_string_equal(config->grpc.listen.host, "10.0.0.1");
    assert_int_equal(config->grpc.listen.port, 14317);
    assert_int_equal(config->batch.max_age_ns, 5000 * MS);
    assert_string_equal(config->exporters[0].file.directory, "./${env:X}/$5/a");
    weir_config_free(config);

    refuses("admin:\n  listen: ${env:WEIR_TEST_UNSET}:1\n",
            "weir.yaml:2: listen: the environment variable WEIR_TEST_UNSET is not set (${env:NAME:-default} gives it a "
            "default)");
    refuses("lanes: ${env:WEIR_TEST_PORT\n", "weir.yaml:1: ${env: is not closed by }");
    refuses("lanes: ${WEIR_TEST_PORT}\n", "weir.yaml:1: only ${env:NAME} is known; write $${ for a literal ${");
    refuses("lanes: ${env:}\n", "weir.yaml:1: ${env:...} needs the name of a variable of at most 127 bytes");
    /* What came from the environment may be secret: errors show what the file says. */
    refuses("memory: { intake: '${env:WEIR_TEST_SECRET}' }\n",
            "weir.yaml:1: memory.intake: ${env:WEIR_TEST_SECRET} is not a size, such as 1500, 64KiB, 10MiB or 1GiB");
    /* It is a value, never syntax. */
    refuses("lanes: ${env:WEIR_TEST_SYNTAX}\n", "weir.yaml:1: lanes: ${env:WEIR_TEST_SYNTAX} is not a whole number");
}

static void test_headers_and_secrets(void **state) {
    (void)state;
    refuses("exporters: { zipkin: { url: 'ftp://me:hunter2@x' } }\n",
            "weir.yaml:1: exporters.zipkin.url: the value does not begin with http:// or https://");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers:\n      'a b': hunter2\n",
            "weir.yaml:5: exporters.zipkin.headers: a b is not the name of an HTTP header of at most 63 bytes");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers: { a: \"hunter2\\n\" }\n",
            "weir.yaml:4: exporters.zipkin.headers: a has a value with a control character");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers: { a: 1, A: 2 }\n",
            "weir.yaml:4: exporters.zipkin.headers: A is given twice");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers: { a: [hunter2] }\n",
            "weir.yaml:4: exporters.zipkin.headers.a: is a list, a single value is needed");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers: hunter2\n",
            "weir.yaml:4: exporters.zipkin.headers: is a single value, a map of names and values is needed");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers_file: no-such-file\n",
            "weir.yaml:4: exporters.zipkin.headers_file: no-such-file: No such file or directory");
    refuses("exporters:\n  zipkin:\n    url: http://x\n    headers_file: /\n",
            "weir.yaml:4: exporters.zipkin.headers_file: / is no file that can be read");

    char folder[] = "/tmp/weir-config-XXXXXX", path[128], text[256];
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/headers", folder);
    FILE *file = fopen(path, "w");
    fputs("# for Zipkin\n\nAuthorization:  Bearer a:b \r\nX-Empty:\n", file);
    fclose(file);
    /* Relative to the configuration file. */
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    snprintf(text, sizeof text, "%s/weir.yaml", folder);
    const char *yaml = "sampling: { policy: s.yaml }\nexporters: { zipkin: { url: http://x, headers_file: headers, "
                       "ca_file: ca.pem } }\n";
    assert_int_equal(weir_config_parse(text, (const uint8_t *)yaml, strlen(yaml), &machine, &config, &err), WEIR_OK);
    const struct weir_exporter_config *zipkin = &config->exporters[0];
    assert_int_equal(zipkin->header_count, 2);
    assert_string_equal(zipkin->headers[0].name, "Authorization");
    assert_string_equal(zipkin->headers[0].value, "Bearer a:b");
    assert_string_equal(zipkin->headers[1].value, "");
    snprintf(text, sizeof text, "%s/ca.pem", folder);
    assert_string_equal(zipkin->zipkin.ca_file, text);
    snprintf(text, sizeof text, "%s/s.yaml", folder);
    assert_string_equal(config->sampling.policy, text);
    weir_config_free(config);

    file = fopen(path, "w");
    fputs("Authorization: x\nhunter2\n", file);
    fclose(file);
    char reason[256];
    snprintf(text, sizeof text, "exporters: { zipkin: { url: http://x, headers_file: %s } }\n", path);
    snprintf(reason, sizeof reason, "%s:2: not a line of the form `Name: value`", path);
    refuses(text, reason);
    unlink(path);
    rmdir(folder);
}

static void test_listen_host(void **state) {
    (void)state;
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    setenv("WEIR_LISTEN_HOST", "::", 1);
    assert_int_equal(weir_config_load("", &config, &err), WEIR_OK);
    assert_string_equal(config->grpc.listen.host, "::");
    assert_string_equal(config->statsd.listen.host, "::");
    assert_string_equal(config->admin.listen.host, "::");
    weir_config_free(config);
    setenv("WEIR_LISTEN_HOST", "not a host", 1);
    assert_int_equal(weir_config_load("", &config, &err), WEIR_INVALID);
    assert_string_equal(err.text, "WEIR_LISTEN_HOST: \"not a host\" is not a host, such as 0.0.0.0 or ::");
    unsetenv("WEIR_LISTEN_HOST");
    assert_int_equal(weir_config_load("/no/such/weir.yaml", &config, &err), WEIR_IO);
    assert_string_equal(err.text, "/no/such/weir.yaml: No such file or directory");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_variables),
        cmocka_unit_test(test_headers_and_secrets),
        cmocka_unit_test(test_listen_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
