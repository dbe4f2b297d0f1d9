/* A configuration file, key by key: what it becomes, and with which words it is refused. What it takes from outside:
 * test_load_outside.c. */
#include "tests/unit/config/parsed.h"

static void test_defaults(void **state) {
    (void)state;
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    unsetenv("WEIR_LISTEN_HOST");
    assert_int_equal(weir_config_load(NULL, &config, &err), WEIR_OK);
    assert_string_equal(config->path, "");
    assert_true(config->grpc.listen.on && !config->grpc.listen.asked);
    assert_string_equal(config->grpc.listen.host, "127.0.0.1");
    assert_int_equal(config->grpc.listen.port, 4317);
    assert_int_equal(config->statsd.listen.port, 8125);
    assert_int_equal(config->statsd.source_label, WEIR_SOURCE_NONE);
    assert_int_equal(config->statsd.receive_buffer_bytes, 4 * MIB);
    assert_int_equal(config->admin.listen.port, 9646);
    assert_false(config->admin.lifecycle);
    assert_string_equal(config->log_level, "info");
    assert_int_equal(config->drain_timeout_ns, 10000 * MS);
    assert_int_equal(config->lanes, 0);
    assert_int_equal(config->names_max, 65536);
    assert_int_equal(config->batch.max_spans, 8192);
    assert_int_equal(config->batch.max_bytes, MIB);
    assert_int_equal(config->batch.max_age_ns, 200 * MS);
    assert_int_equal(config->grpc.max_concurrent_streams, 100);
    assert_int_equal(config->grpc.max_connections, 1024);
    assert_int_equal(config->grpc.keepalive_min_ns, 10000 * MS);
    assert_int_equal(config->aggregate.series_max, 100000);
    assert_int_equal(config->aggregate.series_per_metric_max, 2000);
    assert_int_equal(config->aggregate.latency_bucket_count, 14);
    assert_true(config->aggregate.latency_buckets[0] == 0.001 && config->aggregate.latency_buckets[13] == 10);
    assert_true(config->aggregate.service_graph);
    assert_string_equal(config->sampling.policy, "");
    assert_int_equal(config->exporter_count, 1);
    assert_string_equal(config->exporters[0].type, "file");
    assert_string_equal(config->exporters[0].name, "file");
    assert_string_equal(config->exporters[0].file.directory, "./traces");
    assert_int_equal(config->exporters[0].file.max_total_bytes, 1024 * MIB);
    assert_int_equal(config->exporters[0].retry_initial_ns, 500 * MS);
    assert_int_equal(config->exporters[0].max_in_flight, 16);
    weir_config_free(config);

    struct weir_config *empty = accepts("# nothing but a comment\n");
    assert_int_equal(empty->exporter_count, 1);
    assert_true(empty->grpc.listen.on);
    weir_config_free(empty);
}

static void test_canary(void **state) {
    (void)state;
    struct weir_config *config = accepts("log: {}\n"), *next, *whole;
    char restart[128];
    assert_string_equal(config->sampling.canary_policy, "");
    assert_true(config->sampling.canary_share == 0.1);
    next = accepts("sampling:\n  policy: a.yaml\n  canary:\n    policy: b.yaml\n    share: 2.5%\n");
    assert_string_equal(next->sampling.canary_policy, "b.yaml");
    assert_true(next->sampling.canary_share == 0.025);
    assert_int_equal(next->sampling.canary_line, 4);
    weir_config_needs_restart(config, next, restart, sizeof restart);
    assert_string_equal(restart, "");
    whole = accepts("sampling: { policy: a.yaml, canary: { share: 1, policy: ~ } }\n");
    assert_string_equal(whole->sampling.canary_policy, "");
    assert_true(whole->sampling.canary_share == 1);
    weir_config_free(config);
    weir_config_free(next);
    weir_config_free(whole);
    refuses("sampling:\n  canary:\n    policy: b.yaml\n",
            "weir.yaml:3: sampling.canary.policy: is given, sampling.policy is not, which the other proxies follow");
    refuses("sampling: { policy: a, canary: { policy: b, share: 10 } }\n",
            "weir.yaml:1: sampling.canary.share: \"10\" is not a share of 0 to 1, such as 0.1 or \"10%\"");
    refuses("sampling: { policy: a, canary: { policy: b, share: 101% } }\n",
            "weir.yaml:1: sampling.canary.share: \"101%\" is not a share of 0 to 1, such as 0.1 or \"10%\"");
    refuses("sampling: { policy: a, canary: b }\n",
            "weir.yaml:1: sampling.canary: is a single value, a map of keys is needed");
    refuses("sampling: { policy: a, canary: { polcy: b } }\n",
            "weir.yaml:1: sampling.canary.polcy: unknown key, did you mean policy?");
}

static void test_every_key(void **state) {
    (void)state;
    struct weir_config *config =
        accepts("lanes: 4\n"
                "drain_timeout: 1m\n"
                "log: { level: debug }\n"
                "memory:\n"
                "  intake: 128MiB\n"
                "  names: 10_000\n"
                "receivers:\n"
                "  statsd: { listen: '[::]:18125', source_label: host, receive_buffer_bytes: 208KiB }\n"
                "  grpc:\n"
                "    listen: :14317\n"
                "    max_message_bytes: 1MiB\n"
                "    max_connections: 7\n"
                "    max_concurrent_streams: 8\n"
                "    keepalive_min: 0s\n"
                "batch: { max_spans: 10, max_bytes: 4KiB, max_age: 1s }\n"
                "aggregate:\n"
                "  series_max: 5000\n"
                "  series_per_metric_max: 50\n"
                "  label_value_bytes_max: 64\n"
                "  idle_expiry: 10m\n"
                "  latency_buckets: [250ms, 0.5, 1s]\n"
                "  service_graph: false\n"
                "  edge_wait: 5s\n"
                "  edges_max: 100\n"
                "sampling: { policy: sampling.yaml }\n"
                "exporters:\n"
                "  zipkin:\n"
                "    url: https://u:p@zipkin/api/v2/spans\n"
                "    encoding: json\n"
                "    timeout: 3s\n"
                "    max_body_bytes: 64KiB\n"
                "    ca_file: /etc/ca.pem\n"
                "    headers: { Authorization: 'Bearer 1', x-tenant: a }\n"
                "    memory_bytes: 2MiB\n"
                "    max_age: 5m\n"
                "    retry_initial: 10ms\n"
                "    retry_max: 1s\n"
                "    max_in_flight: 1\n"
                "  file/archive: { directory: /var/t, max_file_bytes: 1MiB, max_total_bytes: 2MiB, max_file_age: 1m, "
                "compression_level: -3 }\n"
                "  file:\n"
                "admin: { listen: 10.0.0.1:1, lifecycle: true }\n");
    assert_int_equal(config->lanes, 4);
    assert_int_equal(config->drain_timeout_ns, 60000 * MS);
    assert_string_equal(config->log_level, "debug");
    assert_int_equal(config->intake_bytes, 128 * MIB);
    assert_int_equal(config->names_max, 10000);
    assert_string_equal(config->statsd.listen.host, "::");
    assert_int_equal(config->statsd.listen.port, 18125);
    assert_int_equal(config->statsd.listen.line, 8);
    assert_true(config->statsd.listen.asked);
    assert_int_equal(config->statsd.source_label, WEIR_SOURCE_HOST);
    assert_int_equal(config->statsd.receive_buffer_bytes, 208 << 10);
    assert_string_equal(config->grpc.listen.host, "127.0.0.1");
    assert_int_equal(config->grpc.listen.port, 14317);
    assert_int_equal(config->grpc.listen.line, 10);
    assert_int_equal(config->grpc.max_message_bytes, MIB);
    assert_int_equal(config->grpc.max_connections, 7);
    assert_int_equal(config->grpc.max_concurrent_streams, 8);
    assert_int_equal(config->grpc.keepalive_min_ns, 0);
    assert_int_equal(config->batch.max_spans, 10);
    assert_int_equal(config->batch.max_bytes, 4096);
    assert_int_equal(config->batch.max_age_ns, 1000 * MS);
    assert_int_equal(config->aggregate.series_max, 5000);
    assert_int_equal(config->aggregate.series_per_metric_max, 50);
    assert_int_equal(config->aggregate.label_value_bytes_max, 64);
    assert_int_equal(config->aggregate.idle_expiry_ns, 600000 * MS);
    assert_int_equal(config->aggregate.latency_bucket_count, 3);
    assert_true(config->aggregate.latency_buckets[0] == 0.25 && config->aggregate.latency_buckets[1] == 0.5);
    assert_true(config->aggregate.latency_buckets[2] == 1 && config->aggregate.latency_buckets[3] == 0);
    assert_false(config->aggregate.service_graph);
    assert_int_equal(config->aggregate.edge_wait_ns, 5000 * MS);
    assert_int_equal(config->aggregate.edges_max, 100);
    assert_string_equal(config->sampling.policy, "sampling.yaml");
    assert_int_equal(config->sampling.line, 25);
    assert_true(config->admin.lifecycle && config->admin.listen.asked);
    assert_int_equal(config->exporter_count, 3);
    const struct weir_exporter_config *one = &config->exporters[0];
    assert_string_equal(one->type, "zipkin");
    assert_int_equal(one->line, 27);
    assert_string_equal(one->zipkin.url, "https://u:p@zipkin/api/v2/spans");
    assert_int_equal(one->zipkin.encoding, WEIR_ZIPKIN_JSON);
    assert_int_equal(one->zipkin.timeout_ns, 3000 * MS);
    assert_int_equal(one->zipkin.max_body_bytes, 65536);
    assert_string_equal(one->zipkin.ca_file, "/etc/ca.pem");
    assert_int_equal(one->header_count, 2);
    assert_string_equal(one->headers[0].name, "Authorization");
    assert_string_equal(one->headers[0].value, "Bearer 1");
    assert_int_equal(one->memory_bytes, 2 * MIB);
    assert_int_equal(one->max_age_ns, 300000 * MS);
    assert_int_equal(one->retry_initial_ns, 10 * MS);
    assert_int_equal(one->retry_max_ns, 1000 * MS);
    assert_int_equal(one->max_in_flight, 1);
    one = &config->exporters[1];
    assert_string_equal(one->type, "file");
    assert_string_equal(one->name, "file/archive");
    assert_string_equal(one->file.directory, "/var/t");
    assert_int_equal(one->file.max_file_bytes, MIB);
    assert_int_equal(one->file.max_total_bytes, 2 * MIB);
    assert_int_equal(one->file.max_file_age_ns, 60000 * MS);
    assert_int_equal(one->file.compression_level, -3);
    assert_string_equal(config->exporters[2].file.directory, "./traces");
    weir_config_free(config);
}

static void test_spool(void **state) {
    (void)state;
    struct weir_config *config = accepts("lanes: 1\n");
    assert_string_equal(config->spool.directory, "");
    assert_int_equal(config->spool.max_bytes, 10240ll * MIB);
    assert_int_equal(config->spool.segment_bytes, 16 * MIB);
    assert_false(config->spool.durable);
    uint64_t without = weir_config_memory(config, 2);
    weir_config_free(config);
    config = accepts("lanes: 1\nspool: { directory: ./d, max_bytes: 16MiB, durable: true }\n");
    assert_string_equal(config->spool.directory, "./d");
    assert_int_equal(config->spool.max_bytes, 16 * MIB);
    assert_int_equal(weir_config_spool_share(config), 8 * MIB); /* the journal, and the exporter that is the default */
    assert_int_equal(config->spool.segment_bytes, 4 * MIB);     /* not given: what fits */
    assert_int_equal(config->spool.memory_age_ns, 10000 * MS);
    assert_int_equal(config->spool.read_bytes_per_second, 0);
    assert_int_equal(config->spool.compression_level, 1);
    assert_true(config->exporters[0].spool);
    assert_true(config->spool.durable);
    assert_int_equal(config->spool.line, 2);
    assert_int_equal(weir_config_memory(config, 2) - without, (16 + 2 * 4 + 8) * MIB);
    weir_config_free(config);
}

static void test_render(void **state) {
    (void)state;
    struct weir_config *config =
        accepts("render:\n"
                "  - { for: nginx, service: edge, path: /tmp/weir.conf, command: \"nginx -s reload\",\n"
                "      timeout: 2s, min_interval: 1m, incoming: ignore }\n"
                "  - { for: otel-env, path: otel.env }\n");
    assert_int_equal(config->render_count, 2);
    const struct weir_render_config *one = &config->renders[0], *other = &config->renders[1];
    assert_int_equal(one->kind, WEIR_RENDER_NGINX);
    assert_string_equal(one->service, "edge");
    assert_string_equal(one->path, "/tmp/weir.conf");
    assert_string_equal(one->command, "nginx -s reload");
    assert_true(one->timeout_ns == 2000 * MS && one->min_interval_ns == 60000 * MS && one->line == 2);
    assert_int_equal(other->kind, WEIR_RENDER_OTEL_ENV);
    assert_string_equal(other->path, "otel.env"); /* beside the configuration */
    assert_true(one->ignore_incoming && !other->ignore_incoming);
    assert_true(other->service[0] == 0 && other->command[0] == 0);
    assert_true(other->timeout_ns == 10000 * MS && other->min_interval_ns == 10000 * MS);
    weir_config_free(config);

    refuses("render: [{ for: nginx }]", "weir.yaml:1: render[0]: for and path are needed");
    refuses("render: [{ path: a }]", "weir.yaml:1: render[0]: for and path are needed");
    refuses("render: { for: nginx }", "weir.yaml:1: render: is a map, a list is needed");
    refuses("render: [{ for: apache, path: a }]",
            "weir.yaml:1: render[0].for: is none of nginx, nginx-otel, linkerd1, envoy, otel-env");
    refuses("render:\n- { for: nginx, path: /no/such/folder/a }",
            "weir.yaml:2: render[0].path: there is no folder /no/such/folder");
    refuses("render: [{ for: nginx, path: /tmp }]", "weir.yaml:1: render[0].path: /tmp is no file");
    refuses("render: [{ for: nginx, path: /tmp/ }]", "weir.yaml:1: render[0].path: /tmp/ is no file");
    refuses("render: [{ for: nginx, path: a }, { for: envoy, path: a }]",
            "weir.yaml:1: render[1].path: render[0] writes there already");
    refuses("render: [{ for: nginx, path: a, timeout: 10 }]",
            "weir.yaml:1: render[0].timeout: is no duration of 100ms to 1h, such as 10s");
    refuses("render: [{ for: nginx, path: a, min_interval: 2h }]",
            "weir.yaml:1: render[0].min_interval: is no duration of 100ms to 1h, such as 10s");
    refuses("render: [{ for: envoy, path: a, incoming: ignore }]",
            "weir.yaml:1: render[0].incoming: is for nginx only");
    refuses("render: [{ for: nginx, path: a, comand: x }]",
            "weir.yaml:1: render[0].comand: unknown key, did you mean command?");
}

static void test_which_receivers_run(void **state) {
    (void)state;
    static const struct {
        const char *text;
        bool statsd, grpc, statsd_asked, grpc_asked;
    } rows[] = {
        {"lanes: 1\n", true, true, false, false},
        {"receivers:\n", true, true, false, false},
        {"receivers: {}\n", false, false, false, false},
        {"receivers: { grpc: }\n", false, true, false, true},
        {"receivers: { grpc: {} }\n", false, true, false, true},
        {"receivers: { grpc: off, statsd: ~ }\n", true, false, true, true},
        {"receivers: { grpc: { listen: off }, statsd: { listen: ':1' } }\n", true, false, true, true},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct weir_config *config = accepts(rows[i].text);
        if (config->statsd.listen.on != rows[i].statsd || config->grpc.listen.on != rows[i].grpc ||
            config->statsd.listen.asked != rows[i].statsd_asked || config->grpc.listen.asked != rows[i].grpc_asked) {
            fail_msg("%s: statsd %d asked %d, grpc %d asked %d", rows[i].text, config->statsd.listen.on,
                     config->statsd.listen.asked, config->grpc.listen.on, config->grpc.listen.asked);
        }
        weir_config_free(config);
    }
    struct weir_config *config = accepts("exporters: {}\nadmin: { lifecycle: true }\n");
    assert_int_equal(config->exporter_count, 0);
    assert_false(config->admin.listen.asked);
    weir_config_free(config);
    config = accepts("exporters:\n");
    assert_int_equal(config->exporter_count, 1);
    weir_config_free(config);
}

static void test_otlp_endpoints(void **state) {
    (void)state;
    static const char *const rows[][2] = {
        {"grpc://a:4317", "grpc://a:4317"},
        {"[grpc://a:4317]", "grpc://a:4317"},
        {"[grpcs://a, 'http://b:4318/v1/traces', https://c]", "grpcs://a, http://b:4318/v1/traces, https://c"},
        {"'grpc://a,grpc://b'", "grpc://a,grpc://b"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        char yaml[256];
        snprintf(yaml, sizeof yaml, "exporters:\n  otlp/x: { endpoints: %s, balance: trace_id, compression: zstd }\n",
                 rows[i][0]);
        struct weir_config *config = accepts(yaml);
        assert_string_equal(config->exporters[0].otlp.endpoints, rows[i][1]);
        assert_int_equal(config->exporters[0].otlp.balance, WEIR_OTLP_TRACE_ID);
        assert_int_equal(config->exporters[0].otlp.compression, WEIR_OTLP_ZSTD);
        assert_int_equal(config->exporters[0].otlp.max_request_bytes, 3584 << 10);
        weir_config_free(config);
    }
    refuses("exporters: { otlp: {} }\n",
            "weir.yaml:1: exporters.otlp.endpoints: is missing, such as grpc://gateway:4317");
    /* the value is never shown */
    static const char *const wrong[] = {"a:4317", "ftp://hunter2@a", "'grpc://a,'", "'grpc://a,,grpc://b'",
                                        "[grpc://a, ftp://hunter2@b]"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char yaml[256], reason[256];
        snprintf(yaml, sizeof yaml, "exporters:\n  otlp: { endpoints: %s }\n", wrong[i]);
        snprintf(reason, sizeof reason,
                 "weir.yaml:2: exporters.otlp.endpoints: %shas an entry that does not begin with grpc://, grpcs://, "
                 "http:// or https://",
                 wrong[i][0] == '[' ? "" : "the value ");
        refuses(yaml, reason);
    }
    refuses("exporters:\n  otlp: { endpoints: { a: b } }\n",
            "weir.yaml:2: exporters.otlp.endpoints: is a map, a list is needed");
}

static void test_refused(void **state) {
    (void)state;
    /* unknown keys */
    refuses("lanes: 1\nlanez: 2\n", "weir.yaml:2: lanez: unknown key, did you mean lanes?");
    refuses("x: 2\n", "weir.yaml:1: x: unknown key; known are lanes, drain_timeout, log, memory, receivers, batch, "
                      "aggregate, sampling, spool, admin, attributes, operations, success, exclude, render, exporters");
    refuses("proxies: { default: { rate: 1 } }\n",
            "weir.yaml:1: proxies: is a key of a sampling policy, a file that `sampling: { policy: FILE }` names");
    refuses("receivers:\n  grpc:\n    max_mesage_bytes: 1MiB\n",
            "weir.yaml:3: receivers.grpc.max_mesage_bytes: unknown key, did you mean max_message_bytes?");
    refuses("receivers:\n  kafka: {}\n", "weir.yaml:2: receivers.kafka: unknown key; known are grpc, "
                                         "otlp_http, zipkin, sampling, scribe, datagram, access_log, statsd");
    refuses("batch.max_spans: 2\n", "weir.yaml:1: batch.max_spans: unknown key; known are lanes, drain_timeout, log, "
                                    "memory, receivers, batch, aggregate, sampling, spool, admin, attributes, "
                                    "operations, success, exclude, render, exporters");
    refuses("exporters: { pigeon: {} }\n",
            "weir.yaml:1: exporters.pigeon: unknown key; known are file, zipkin, kafka, otlp");
    refuses("exporters: { zipkn: {} }\n", "weir.yaml:1: exporters.zipkn: unknown key, did you mean zipkin?");
    refuses("exporters: { pigeon/a: {} }\n",
            "weir.yaml:1: exporters.pigeon/a: no exporter has this type; known are file, zipkin, kafka, otlp");
    refuses(
        "exporters:\n  file/a:\n    url: http://x\n",
        "weir.yaml:3: exporters.file/a.url: unknown key; known are memory_bytes, max_age, retry_initial, "
        "retry_max, max_in_flight, spool, directory, max_file_bytes, max_total_bytes, max_file_age, compression_level");
    refuses("exporters:\n  file:\n    dirctory: x\n",
            "weir.yaml:3: exporters.file.dirctory: unknown key, did you mean directory?");
    /* what only makes sense together */
    refuses("spool:\n  durable: true\n",
            "weir.yaml:2: spool.durable: is true, spool.directory is not given: there is no disk to write to");
    refuses("exporters:\n  file:\n    directory: /f\n    spool: true\n",
            "weir.yaml:4: exporters.file.spool: is true, spool.directory is not given");
    refuses("spool: { directory: /d, max_bytes: 64MiB }\n\nlanes: 1\nspool.x: 1\n",
            "weir.yaml:4: spool.x: unknown key, did you mean spool?");
    refuses("spool:\n  directory: /d\n  max_bytes: 64MiB\n  segment_bytes: 33MiB\n",
            "weir.yaml:4: spool.segment_bytes: 33MiB is more than half of a share of spool.max_bytes, which is 64MiB");
    refuses("spool: { directory: /d, max_bytes: 3MiB, durable: true }\n",
            "weir.yaml:1: spool.segment_bytes: 1MiB is more than half of a share of spool.max_bytes, which is 1.5MiB");
    /* twice */
    refuses("lanes: 1\nlog: {}\nlanes: 1\n", "weir.yaml:3: lanes: given twice, first at line 1");
    refuses("batch:\n  max_age: 1s\n  max_age: 1s\n", "weir.yaml:3: max_age: given twice, first at line 2");
    refuses("exporters:\n  file: {}\n  file: {}\n", "weir.yaml:3: file: given twice, first at line 2");
    /* types */
    refuses("lanes: many\n", "weir.yaml:1: lanes: \"many\" is not a whole number");
    refuses("lanes: [1]\n", "weir.yaml:1: lanes: is a list, a single value is needed");
    refuses("lanes:\n", "weir.yaml:1: lanes: is nothing, a single value is needed");
    refuses("lanes: 1.5\n", "weir.yaml:1: lanes: \"1.5\" is not a whole number");
    refuses("drain_timeout: 10\n",
            "weir.yaml:1: drain_timeout: \"10\" is not a duration, such as 750ms, 10s, 5m or 1h");
    refuses("memory:\n  intake: 64M\n",
            "weir.yaml:2: memory.intake: \"64M\" is not a size, such as 1500, 64KiB, 10MiB or 1GiB");
    refuses("receivers:\n  grpc: { listen: ':4317' }\n  zipkin: { listen: ':4317' }\n",
            "weir.yaml:3: receivers.zipkin.listen: port 4317 (TCP) is that of receivers.grpc too");
    refuses("receivers:\n  datagram: { listen: '0.0.0.0:4319' }\n  statsd: { listen: '10.0.0.1:4319' }\n",
            "weir.yaml:3: receivers.statsd.listen: port 4319 (UDP) is that of receivers.datagram too");
    refuses("admin: { listen: ':4317' }\nreceivers: { grpc: {} }\n",
            "weir.yaml:2: admin.listen: port 4317 (TCP) is that of receivers.grpc too");
    weir_config_free(accepts("receivers: { grpc: { listen: ':4317' }, statsd: { listen: ':4317' }, zipkin: { listen: "
                             "'10.0.0.1:4317' } }\n"));
    weir_config_free(accepts("receivers: { grpc: { listen: ':4317' }, zipkin: off }\n"));
    refuses("memory: 64MiB\n", "weir.yaml:1: memory: is a single value, a map of keys is needed");
    refuses("- lanes\n", "weir.yaml:1: the file is a list, a map of keys is needed");
    refuses("receivers: { grpc: on }\n", "weir.yaml:1: receivers.grpc: is a single value, a map of keys is needed");
    refuses("receivers: { grpc: { listen: nowhere } }\n",
            "weir.yaml:1: receivers.grpc.listen: \"nowhere\" is not an address, such as 0.0.0.0:4317, [::1]:4317, "
            ":4317 (port 1 to 65535) or off");
    refuses("receivers:\n  statsd: { source_label: mac }\n",
            "weir.yaml:2: receivers.statsd.source_label: \"mac\" is not one of none, ip, host");
    refuses("log: { level: loud }\n", "weir.yaml:1: log.level: \"loud\" is not one of debug, info, warn, error");
    refuses("aggregate: { service_graph: yes }\n",
            "weir.yaml:1: aggregate.service_graph: \"yes\" is neither true nor false");
    refuses("aggregate: { latency_buckets: 1s }\n",
            "weir.yaml:1: aggregate.latency_buckets: is a single value, a list is needed");
    refuses("aggregate: { latency_buckets: [] }\n",
            "weir.yaml:1: aggregate.latency_buckets: is empty; allowed is 1 to 64 ascending bounds");
    refuses("aggregate: { latency_buckets: [1, 1] }\n", "weir.yaml:1: aggregate.latency_buckets: is not ascending");
    refuses("aggregate: { latency_buckets: [0, 1] }\n",
            "weir.yaml:1: aggregate.latency_buckets: has an entry that is not above 0");
    refuses("aggregate:\n  latency_buckets:\n    - 1\n    - [2]\n",
            "weir.yaml:4: aggregate.latency_buckets: an entry is not a single value");
    refuses(
        "aggregate: { latency_buckets: [fast] }\n",
        "weir.yaml:1: aggregate.latency_buckets: has an entry that is neither seconds (0.25) nor a duration (250ms)");
    refuses("exporters: file\n", "weir.yaml:1: exporters: is a single value, a map of keys is needed");
    refuses("exporters: { file: ./traces }\n",
            "weir.yaml:1: exporters.file: is a single value, a map of keys is needed");
    refuses("exporters: { file: { directory: '' } }\n", "weir.yaml:1: exporters.file.directory: \"\" is empty");
    refuses(
        "exporters: { file/: {} }\n",
        "weir.yaml:1: exporters.file/: a name is type or type/name, of letters, digits and _ - . , at most 63 bytes");
    refuses("exporters: { 'file/a b': {} }\n", "weir.yaml:1: exporters.file/a b: a name is type or type/name, of "
                                               "letters, digits and _ - . , at most 63 bytes");
    /* bounds */
    refuses("lanes: 100000\n", "weir.yaml:1: lanes: \"100000\" is out of bounds, allowed is 0 to 64");
    refuses("lanes: -1\n", "weir.yaml:1: lanes: \"-1\" is out of bounds, allowed is 0 to 64");
    refuses("receivers: { datagram: { allow: [10.0.0.0/8, 10.0.0.0/33] } }\n",
            "weir.yaml:1: receivers.datagram.allow: has a prefix \"33\" that is not between 0 and 32");
    refuses("receivers: { datagram: { allow: [10.0.0.1/8] } }\n",
            "weir.yaml:1: receivers.datagram.allow: has bits behind the prefix of 10.0.0.1/8");
    refuses("memory: { intake: 900TiB }\n",
            "weir.yaml:1: memory.intake: \"900TiB\" is out of bounds, allowed is 1MiB to 1TiB");
    refuses("batch: { max_age: 0s }\n", "weir.yaml:1: batch.max_age: \"0s\" is out of bounds, allowed is 1ms to 1h");
    refuses("exporters: { file: { compression_level: 20 } }\n",
            "weir.yaml:1: exporters.file.compression_level: \"20\" is out of bounds, allowed is -7 to 19");
    refuses("exporters: { zipkin: { encoding: proto3 } }\n",
            "weir.yaml:1: exporters.zipkin.url: is missing, such as http://zipkin:9411/api/v2/spans");
    /* bounds against each other */
    refuses("memory: { intake: 8MiB }\nreceivers:\n  grpc:\n    max_message_bytes: 9MiB\n",
            "weir.yaml:4: receivers.grpc.max_message_bytes: 9MiB is more than memory.intake, which is 8MiB");
    refuses("aggregate:\n  series_max: 1000\n",
            "weir.yaml:2: aggregate.series_per_metric_max: 2000 is more than aggregate.series_max, which is 1000");
    refuses("exporters:\n  file:\n    retry_max: 100ms\n",
            "weir.yaml:3: exporters.file.retry_initial: 500ms is more than retry_max, which is 100ms");
    refuses("exporters:\n  file:\n    max_total_bytes: 1MiB\n",
            "weir.yaml:3: exporters.file.max_file_bytes: 64MiB is more than max_total_bytes, which is 1MiB");
    refuses("batch: { max_bytes: 2MiB }\nexporters: { file: { memory_bytes: 1MiB } }\n",
            "weir.yaml:1: batch.max_bytes: 2MiB is more than exporters.file.memory_bytes, which is 1MiB");
    refuses("exporters:\n  file: {}\n  file/b:\n    memory_bytes: 1MiB\n",
            "weir.yaml:3: exporters.file/b.directory: is that of exporters.file too; each needs its own");
    /* YAML */
    refuses("lanes: [\n", "weir.yaml:2: not YAML: did not find expected node content, while parsing a flow node");
    refuses("a: b: c\n", "weir.yaml:1: not YAML: mapping values are not allowed in this context");
    refuses("lanes: 1\n\tbatch: 2\n",
            "weir.yaml:2: not YAML: found a tab character that violates indentation, while scanning a plain scalar");
    refuses("lanes: \"\\0\"\n", "weir.yaml:1: a NUL character in a value");
    refuses("lanes: &a 1\nlog: *a\n", "weir.yaml:2: YAML aliases (*name) are not supported; quote the value");
    refuses("lanes: !!int 1\n", "weir.yaml:1: YAML tags (!...) are not supported; quote the value");
    refuses("lanes: 1\n---\nlanes: 1\n", "weir.yaml:2: a second document (---) begins here; one is allowed");
    refuses("? [a]\n: 1\n", "weir.yaml:1: a key is a list; keys are single values (quote what begins with { or [)");
    refuses("~: 1\n", "weir.yaml:1: a key is empty");
    refuses("\xff\xfe\x01", "weir.yaml:1: not YAML: incomplete UTF-16 character at byte 2");
}

static void test_too_many_exporters(void **state) {
    (void)state;
    char text[2048] = "exporters:\n";
    for (int i = 0; i < 16; i++)
        snprintf(text + strlen(text), 64, "  file/%d: { directory: ./t%d }\n", i, i);
    weir_config_free(accepts(text));
    strcat(text, "  file/more: { directory: ./more }\n");
    refuses(text, "weir.yaml:18: exporters.file/more: more than 16 exporters");
}

static void test_deep_and_large(void **state) {
    (void)state;
    char deep[200] = "lanes: ";
    memset(deep + 7, '[', 100);
    refuses(deep, "weir.yaml:1: nested deeper than 32");
    size_t size = WEIR_YAML_BYTES_MAX + 1;
    char *large = malloc(size + 1);
    memset(large, '#', size);
    large[size] = 0;
    refuses(large, "weir.yaml:1: longer than 1048576 bytes");
    free(large);
}

/* A policy that is not there is said by the line that names it, and nothing is kept of the configuration. */
static void test_a_missing_policy(void **state) {
    (void)state;
    static const struct {
        const char *text, *reason;
    } rows[] = {
        {"lanes: 1\nsampling:\n  policy: weir-none.yaml\n",
         ":3: sampling.policy: /tmp/weir-none.yaml: No such file or directory"},
        {"sampling:\n  policy: /dev/null\n  shadow: weir-none.yaml\n",
         ":3: sampling.shadow: /tmp/weir-none.yaml: No such file or directory"},
        {"sampling: { policy: /dev/null, canary: { policy: weir-none.yaml } }\n",
         ":1: sampling.canary.policy: /tmp/weir-none.yaml: No such file or directory"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char path[] = "/tmp/weir-load-XXXXXX", expected[160];
        struct weir_config *config = NULL;
        struct weir_error err = {0};
        int fd = mkstemp(path);
        assert_true(fd >= 0);
        assert_int_equal(write(fd, rows[i].text, strlen(rows[i].text)), strlen(rows[i].text));
        close(fd);
        snprintf(expected, sizeof expected, "%s%s", path, rows[i].reason);
        enum weir_status status = weir_config_load(path, &config, &err);
        unlink(path);
        assert_int_equal(status, WEIR_INVALID);
        assert_string_equal(err.text, expected);
        assert_null(config);
    }
}

static void test_what_needs_a_restart(void **state) {
    (void)state;
    struct weir_config *a =
        accepts("lanes: 1\nexporters: { file: {}, zipkin: { url: http://x }, file/b: { directory: b } }\n");
    struct weir_config *same =
        accepts("exporters: { file/b: { directory: b }, zipkin: { url: http://x }, file: {} }\nlanes: 1\n");
    struct weir_config *live = accepts(
        "lanes: 1\nbatch: { max_spans: 1 }\nlog: { level: warn }\nsampling: { policy: x }\nadmin: { lifecycle: true }\n"
        "exporters: { file: { memory_bytes: 9MiB }, zipkin: { url: http://x, retry_max: 2s }, file/b: { directory: b } "
        "}\n");
    struct weir_config *other = accepts("lanes: 2\nreceivers: { grpc: { listen: ':1' } }\naggregate: { "
                                        "latency_buckets: [1] }\nadmin: { listen: ':9646' }\n"
                                        "exporters: { file: { max_file_age: 1m }, zipkin: { url: http://y, headers: { "
                                        "a: b } }, file/c: { directory: c } }\n");
    char text[512] = "x";
    weir_config_needs_restart(a, same, text, sizeof text);
    assert_string_equal(text, "");
    weir_config_needs_restart(a, live, text, sizeof text);
    assert_string_equal(text, "");
    weir_config_needs_restart(a, other, text, sizeof text);
    assert_string_equal(
        text, "lanes, receivers.grpc.listen, receivers.otlp_http.listen, "
              "receivers.zipkin.listen, receivers.sampling.listen, receivers.scribe.listen, receivers.datagram.listen, "
              "receivers.access_log.listen, receivers.statsd.listen, aggregate.latency_buckets, "
              "exporters.file.max_file_age, "
              "exporters.zipkin.url, exporters.zipkin.headers, exporters.file/c, exporters.file/b");
    char small[12];
    weir_config_needs_restart(a, other, small, sizeof small);
    assert_true(strlen(small) < sizeof small);
    weir_config_free(a);
    weir_config_free(same);
    weir_config_free(live);
    weir_config_free(other);
}

static char *slurp(FILE *file) {
    char *text = calloc(1, 1 << 16);
    size_t size = fread(text, 1, (1 << 16) - 1, file);
    text[size] = 0;
    return text;
}

static void test_the_reference_is_fresh(void **state) {
    (void)state;
    FILE *made = tmpfile(), *tree = fopen(WEIR_TEST_DATA "/../../docs/configuration.md", "r");
    assert_non_null(made);
    assert_non_null(tree);
    weir_config_write_reference(made);
    rewind(made);
    char *now = slurp(made), *page = slurp(tree);
    if (strcmp(now, page) != 0)
        fail_msg("docs/configuration.md is stale: make it again from weir_config_print_reference()");
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        const char *key = option->key; /* a table of the page is a section; what lies deeper has its path there */
        if (strncmp(key, "receivers.", 10) == 0) key += 10;
        const char *dot = strchr(key, '.');
        char cell[80];
        snprintf(cell, sizeof cell, "| `%s` |", dot == NULL ? key : dot + 1);
        if (strstr(page, cell) == NULL) fail_msg("%s is not on the page", option->key);
    }
    free(now);
    free(page);
    fclose(made);
    fclose(tree);
}

static void test_the_example_is_accepted(void **state) {
    (void)state;
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    if (weir_config_load(WEIR_TEST_DATA "/config/team.yaml", &config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_string_equal(config->sampling.policy, WEIR_TEST_DATA "/config/sampling.yaml");
    assert_string_equal(config->exporters[0].headers[0].value, "Basic dGVhbTpzZWNyZXQ=");
    weir_config_free(config);
    if (weir_config_load(WEIR_TEST_DATA "/../../examples/weir.yaml", &config, &err) != WEIR_OK)
        fail_msg("%s", err.text);
    assert_int_equal(config->exporter_count, 2);
    assert_string_equal(config->exporters[0].zipkin.url, "http://zipkin:9411/api/v2/spans");
    weir_config_free(config);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_canary),
        cmocka_unit_test(test_every_key),
        cmocka_unit_test(test_spool),
        cmocka_unit_test(test_render),
        cmocka_unit_test(test_which_receivers_run),
        cmocka_unit_test(test_otlp_endpoints),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many_exporters),
        cmocka_unit_test(test_deep_and_large),
        cmocka_unit_test(test_a_missing_policy),
        cmocka_unit_test(test_what_needs_a_restart),
        cmocka_unit_test(test_the_reference_is_fresh),
        cmocka_unit_test(test_the_example_is_accepted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
