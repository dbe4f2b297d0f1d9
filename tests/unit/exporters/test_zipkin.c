#define _GNU_SOURCE /* strcasestr */
/* The Zipkin exporter over HTTP, against a small server in this program that answers as each test says. */
#include "exporters/exporter.h"
#include "spans.h"
#include "tests/unit/free_port.h"
#include "ticket.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

enum { ANSWERS_MAX = 64 };

static struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock;
    const char *answers[ANSWERS_MAX]; /* one a request; NULL: close the connection; "": never answer */
    int answer_count;
    int requests, connections; /* under lock, as all below */
    struct weir_buffer bodies; /* each as it came, one behind the other */
    size_t sizes[ANSWERS_MAX];
    char head[2048]; /* of the last request */
    _Atomic bool stop;
} server;

/* One request of a connection. False: it is over. */
static bool serve_one(int fd) {
    char bytes[65536];
    size_t have = 0;
    char *end = NULL;
    while (end == NULL) {
        ssize_t got = have < sizeof bytes - 1 ? read(fd, bytes + have, sizeof bytes - 1 - have) : -1;
        if (got <= 0) return false;
        have += (size_t)got;
        bytes[have] = 0;
        end = strstr(bytes, "\r\n\r\n");
    }
    const char *length = strcasestr(bytes, "\r\nContent-Length:");
    size_t left = length != NULL ? strtoul(length + 17, NULL, 10) : 0, at = (size_t)(end + 4 - bytes);
    pthread_mutex_lock(&server.lock);
    size_t start = server.bodies.size;
    snprintf(server.head, sizeof server.head, "%.*s\r\n", (int)(at - 2), bytes);
    weir_buffer_put(&server.bodies, bytes + at, have - at);
    pthread_mutex_unlock(&server.lock);
    left -= have - at;
    while (left > 0) {
        ssize_t got = read(fd, bytes, left < sizeof bytes ? left : sizeof bytes);
        if (got <= 0) return false;
        pthread_mutex_lock(&server.lock);
        weir_buffer_put(&server.bodies, bytes, (size_t)got);
        pthread_mutex_unlock(&server.lock);
        left -= (size_t)got;
    }
    pthread_mutex_lock(&server.lock);
    int i = server.requests++;
    server.sizes[i % ANSWERS_MAX] = server.bodies.size - start;
    const char *answer = server.answers[i < server.answer_count ? i : server.answer_count - 1];
    pthread_mutex_unlock(&server.lock);
    if (answer == NULL) return false;
    if (answer[0] == 0) {
        while (!atomic_load(&server.stop))
            usleep(1000);
        return false;
    }
    return write(fd, answer, strlen(answer)) == (ssize_t)strlen(answer);
}

static void *serve_connection(void *self) {
    int fd = (int)(intptr_t)self;
    while (!atomic_load(&server.stop)) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 20) > 0 && !serve_one(fd)) break;
    }
    close(fd);
    return NULL;
}

static void *serve(void *self) {
    pthread_t threads[ANSWERS_MAX];
    int count = 0;
    (void)self;
    while (!atomic_load(&server.stop)) {
        struct pollfd wait = {.fd = server.fd, .events = POLLIN};
        if (poll(&wait, 1, 20) <= 0 || count == ANSWERS_MAX) continue;
        int fd = accept(server.fd, NULL, NULL);
        pthread_mutex_lock(&server.lock);
        server.connections++;
        pthread_mutex_unlock(&server.lock);
        pthread_create(&threads[count++], NULL, serve_connection, (void *)(intptr_t)fd);
    }
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return NULL;
}

static struct weir_metrics *registry;
static struct weir_exporter_config config;
static void *exporter;

static int setup(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    pthread_mutex_init(&server.lock, NULL);
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    if (bind(server.fd, (struct sockaddr *)&address, size) != 0 || listen(server.fd, 16) != 0) return -1;
    getsockname(server.fd, (struct sockaddr *)&address, &size);
    server.port = ntohs(address.sin_port);
    registry = weir_metrics_new();
    config = (struct weir_exporter_config){.type = "zipkin", .name = "zipkin"};
    snprintf(config.zipkin.url, sizeof config.zipkin.url, "http://127.0.0.1:%u/api/v2/spans", server.port);
    config.zipkin.encoding = WEIR_ZIPKIN_JSON;
    config.zipkin.timeout_ns = 600 * WEIR_S; /* longer than anybody is stopped, and than ticket_await() waits */
    config.zipkin.max_body_bytes = 1 << 20;
    return 0;
}

static void start(int count, ...) {
    va_list list;
    va_start(list, count);
    for (int i = 0; i < count; i++)
        server.answers[i] = va_arg(list, const char *);
    va_end(list);
    server.answer_count = count;
    pthread_create(&server.thread, NULL, serve, NULL);
    struct weir_exporter_env env = {.metrics = registry, .clock = &weir_clock_system};
    struct weir_error err;
    if (weir_export_zipkin.open(&exporter, &config, &env, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void stop_server(void) {
    atomic_store(&server.stop, true);
    pthread_join(server.thread, NULL);
}
static int teardown(void **state) {
    (void)state;
    weir_export_zipkin.close(exporter);
    exporter = NULL;
    if (!atomic_load(&server.stop)) stop_server();
    close(server.fd);
    weir_buffer_free(&server.bodies);
    weir_metrics_free(registry);
    return 0;
}

static void send_and_wait(const struct weir_batch *batch, struct ticket *ticket) {
    ticket_send(&weir_export_zipkin, exporter, batch, ticket);
}

#define ACCEPTED "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n"

static void posts_are_kept_alive(void **state) {
    (void)state;
    strcpy(config.headers[0].name, "X-Key");
    strcpy(config.headers[0].value, "secret");
    config.header_count = 1;
    start(1, ACCEPTED);
    struct weir_batch *batch = mesh_batch(50);
    for (int i = 0; i < 3; i++) {
        struct ticket ticket = {0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_DELIVERED);
        assert_int_equal(ticket.ticket.settled_spans, 50);
        assert_int_equal(ticket.ticket.rejected_spans, 0);
    }
    assert_int_equal(server.requests, 3);
    assert_int_equal(server.connections, 1);
    assert_non_null(strstr(server.head, "POST /api/v2/spans HTTP/1.1\r\n"));
    assert_non_null(strstr(server.head, "Content-Type: application/json\r\n"));
    assert_non_null(strstr(server.head, "X-Key: secret\r\n"));
    assert_null(strcasestr(server.head, "Expect:"));
    json_t *list = json_loadb((const char *)server.bodies.bytes, server.sizes[0], 0, NULL);
    assert_int_equal(json_array_size(list), 50);
    json_decref(list);
    struct weir_buffer page = {0};
    weir_metrics_expose(registry, &page);
    weir_buffer_byte(&page, 0);
    assert_non_null(strstr((char *)page.bytes, "weir_zipkin_posts_total{exporter=\"zipkin\",answer=\"2xx\"} 3\n"));
    weir_buffer_free(&page);
    weir_batch_unref(batch);
}

/* Bodies of one batch; the third fails once, and the retry goes on there. */
static void a_retry_goes_on_where_it_was(void **state) {
    (void)state;
    config.zipkin.encoding = WEIR_ZIPKIN_PROTO3;
    config.zipkin.max_body_bytes = 5000;
    start(4, ACCEPTED, ACCEPTED, "HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 8\r\n\r\nlet me \"", ACCEPTED);
    struct weir_batch *batch = mesh_batch(100);
    struct ticket ticket = {0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_RETRY);
    assert_true(ticket.retry_after_ns == 7 * WEIR_S);
    assert_string_equal(ticket.why, "HTTP 503: let me '");
    assert_int_equal(server.requests, 3);
    assert_in_range(ticket.ticket.settled_spans, 10, 60);
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_int_equal(ticket.ticket.settled_spans, 100);
    assert_non_null(strstr(server.head, "Content-Type: application/x-protobuf\r\n"));
    /* all bodies but the refused one are the list of all spans, each once */
    size_t spans = 0, at = 0;
    for (int i = 0; i < server.requests; i++) {
        struct weir_wire wire = weir_wire_of(server.bodies.bytes + at, server.sizes[i]);
        struct weir_wire_field field;
        while (i != 2 && weir_wire_next(&wire, &field))
            spans++;
        at += server.sizes[i];
    }
    assert_int_equal(spans, 100);
    weir_batch_unref(batch);
}

static void what_is_a_retry_and_what_is_not(void **state) {
    (void)state;
    static const struct {
        const char *answer;
        enum weir_settlement want;
        const char *why;
    } rows[] = {
        {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", WEIR_DELIVERED, ""},
        {"HTTP/1.1 408 x\r\nContent-Length: 0\r\n\r\n", WEIR_RETRY, "HTTP 408"},
        {"HTTP/1.1 429 x\r\nContent-Length: 0\r\n\r\n", WEIR_RETRY, "HTTP 429"},
        {"HTTP/1.1 500 x\r\nContent-Length: 0\r\n\r\n", WEIR_RETRY, "HTTP 500"},
        {"HTTP/1.1 400 x\r\nContent-Length: 12\r\n\r\nbad\x01 \"span\"\n", WEIR_REJECTED, "HTTP 400: bad  'span' "},
        {"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n", WEIR_REJECTED, "HTTP 404"},
        {"HTTP/1.1 301 x\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", WEIR_REJECTED, "HTTP 301"},
        {NULL, WEIR_RETRY, "zipkin: "},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    start(ROWS, rows[0].answer, rows[1].answer, rows[2].answer, rows[3].answer, rows[4].answer, rows[5].answer,
          rows[6].answer, rows[7].answer);
    struct weir_batch *batch = mesh_batch(3);
    for (int i = 0; i < ROWS; i++) {
        struct ticket ticket = {0};
        send_and_wait(batch, &ticket);
        if (ticket.how != rows[i].want || strncmp(ticket.why, rows[i].why, strlen(rows[i].why)) != 0)
            fail_msg("row %d: %d, %s", i, ticket.how, ticket.why);
        assert_int_equal(ticket.ticket.rejected_spans, rows[i].want == WEIR_REJECTED ? 3 : 0);
    }
    weir_batch_unref(batch);
}

static void half_an_answer_ends_at_the_time_out(void **state) {
    (void)state;
    config.zipkin.timeout_ns = 300 * WEIR_MS;
    start(1, "HTTP/1.1 202");
    struct weir_batch *batch = mesh_batch(3);
    struct ticket ticket = {0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_RETRY);
    assert_non_null(strstr(ticket.why, "zipkin: "));
    weir_batch_unref(batch);
}

/* A body that is refused costs its own spans; the rest of the batch goes on. */
static void refused_in_part(void **state) {
    (void)state;
    config.zipkin.max_body_bytes = 10000;
    start(3, ACCEPTED, "HTTP/1.1 400 x\r\nContent-Length: 4\r\n\r\nbad!", ACCEPTED);
    struct weir_batch *batch = mesh_batch(100);
    struct ticket ticket = {0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_DELIVERED);
    assert_string_equal(ticket.why, "HTTP 400: bad!");
    assert_in_range(ticket.ticket.rejected_spans, 10, 30);
    assert_true(server.requests > 3);
    weir_batch_unref(batch);
}

/* While connections are being served. */
static int requests_seen(void) {
    pthread_mutex_lock(&server.lock);
    int requests = server.requests;
    pthread_mutex_unlock(&server.lock);
    return requests;
}

static void several_at_once_and_a_wake(void **state) {
    (void)state;
    start(1, "");
    struct weir_batch *batch = mesh_batch(3);
    struct ticket tickets[3] = {0};
    for (int i = 0; i < 3; i++) {
        tickets[i].ticket.settle = settle;
        weir_export_zipkin.send(exporter, batch, &tickets[i].ticket);
    }
    uint64_t before = weir_mono_ns(&weir_clock_system);
    while (requests_seen() < 3 && weir_mono_ns(&weir_clock_system) < before + 300 * WEIR_S)
        weir_export_zipkin.drive(exporter, 10);
    assert_int_equal(requests_seen(), 3); /* all are under way */
    before = weir_mono_ns(&weir_clock_system);
    weir_export_zipkin.wake(exporter);
    weir_export_zipkin.drive(exporter, 300 * 1000);
    assert_true(weir_mono_ns(&weir_clock_system) - before < 290 * WEIR_S);
    weir_export_zipkin.close(exporter); /* nobody answered: the outcome is unknown */
    exporter = NULL;
    for (int i = 0; i < 3; i++) {
        assert_int_equal(tickets[i].settled, 1);
        assert_int_equal(tickets[i].how, WEIR_RETRY);
    }
    weir_batch_unref(batch);
}

static void nobody_listens(void **state) {
    (void)state;
    int held;
    snprintf(config.zipkin.url, sizeof config.zipkin.url, "http://127.0.0.1:%u/api/v2/spans", dead_port(&held));
    start(1, ACCEPTED);
    struct weir_batch *batch = mesh_batch(3);
    struct ticket ticket = {0};
    send_and_wait(batch, &ticket);
    assert_int_equal(ticket.how, WEIR_RETRY);
    assert_non_null(strstr(ticket.why, "zipkin: "));
    assert_int_equal(server.connections, 0);
    close(held);
    weir_batch_unref(batch);
}

static void bad_configurations(void **state) {
    (void)state;
    static const char *const urls[] = {"",        "zipkin:9411/api", "ftp://h/x",
                                       "http://", "http://h:99999/", "http://user:hunter2@ho st/"};
    struct weir_exporter_env env = {.metrics = registry, .clock = &weir_clock_system};
    struct weir_error err;
    void *self = NULL;
    start(1, ACCEPTED);
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
        strcpy(config.zipkin.url, urls[i]);
        if (weir_export_zipkin.open(&self, &config, &env, &err) != WEIR_INVALID) fail_msg("%s is taken", urls[i]);
        assert_null(self);
        assert_null(strstr(err.text, "hunter2"));
    }
    strcpy(config.zipkin.url, "http://127.0.0.1/");
    strcpy(config.headers[0].name, "X");
    strcpy(config.headers[0].value, "a\r\nEvil: b");
    config.header_count = 1;
    assert_int_equal(weir_export_zipkin.open(&self, &config, &env, &err), WEIR_INVALID);
    assert_null(strstr(err.text, "Evil"));
    weir_export_zipkin.close(NULL);
    assert_ptr_equal(weir_exporter_find("zipkin"), &weir_export_zipkin);
    assert_ptr_equal(weir_exporter_find("file"), &weir_export_file);
    assert_null(weir_exporter_find("zip"));
}

int main(void) {
#define WITH(test) cmocka_unit_test_setup_teardown(test, setup, teardown)
    const struct CMUnitTest tests[] = {
        WITH(posts_are_kept_alive),
        WITH(a_retry_goes_on_where_it_was),
        WITH(what_is_a_retry_and_what_is_not),
        WITH(half_an_answer_ends_at_the_time_out),
        WITH(refused_in_part),
        WITH(several_at_once_and_a_wake),
        WITH(nobody_listens),
        WITH(bad_configurations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
