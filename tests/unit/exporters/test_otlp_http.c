/* OTLP over HTTP against a server in this program that answers as each row says, byte by byte. */
#include "exporters/exporter.h"
#include "spans.h"
#include "ticket.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

enum { SPANS = 40 };

static struct server {
    int fd;
    pthread_t thread;
    const char *answers[4]; /* one a request, the last goes on; NULL: hang up; "": never answer */
    size_t repeat;          /* so often the last answer's body, "x", follows */
    int count;
    int requests; /* after stop_server(), as all below */
    char heads[4096];
    size_t body_bytes;
} server;

static void *serve(void *self) {
    (void)self;
    int fd;
    while ((fd = accept(server.fd, NULL, NULL)) >= 0) {
        char bytes[65536];
        for (;;) {
            size_t have = 0;
            char *end = NULL;
            while (end == NULL) {
                ssize_t got = read(fd, bytes + have, sizeof bytes - 1 - have);
                if (got <= 0) break;
                have += (size_t)got;
                bytes[have] = 0;
                end = strstr(bytes, "\r\n\r\n");
            }
            if (end == NULL) break;
            const char *length = strstr(bytes, "\r\nContent-Length:");
            size_t left = strtoul(length + 17, NULL, 10), head = (size_t)(end + 4 - bytes), used = strlen(server.heads);
            server.body_bytes += left;
            snprintf(server.heads + used, sizeof server.heads - used, "%.*s", (int)head, bytes);
            left -= have - head;
            while (left > 0) {
                ssize_t got = read(fd, bytes, left < sizeof bytes ? left : sizeof bytes);
                if (got <= 0) break;
                left -= (size_t)got;
            }
            int i = server.requests++;
            const char *answer = server.answers[i < server.count ? i : server.count - 1];
            if (answer == NULL) break;
            if (answer[0] == 0) {
                read(fd, bytes, sizeof bytes); /* until the other side ends it */
                break;
            }
            bool gone = send(fd, answer, strlen(answer), MSG_NOSIGNAL) < 0;
            for (size_t n = 0; n < server.repeat && !gone; n++)
                gone =
                    send(fd, "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", 64, MSG_NOSIGNAL) < 0;
            if (gone) break;
        }
        close(fd);
    }
    return NULL;
}

static struct weir_metrics *registry;
static struct weir_exporter_config config;
static void *exporter;

static void start(uint64_t timeout_ns) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    struct weir_exporter_env env;
    struct weir_error err;
    server.fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(server.fd, (struct sockaddr *)&address, size), 0);
    assert_int_equal(listen(server.fd, 16), 0);
    getsockname(server.fd, (struct sockaddr *)&address, &size);
    pthread_create(&server.thread, NULL, serve, NULL);
    registry = weir_metrics_new();
    env = (struct weir_exporter_env){.metrics = registry, .clock = &weir_clock_system};
    config = (struct weir_exporter_config){
        .type = "otlp", .name = "otlp", .retry_initial_ns = WEIR_S, .retry_max_ns = WEIR_S, .header_count = 1};
    strcpy(config.headers[0].name, "X-Scope-OrgID");
    strcpy(config.headers[0].value, "payments");
    config.otlp.timeout_ns = timeout_ns;
    config.otlp.max_request_bytes = 1 << 20;
    config.otlp.compression = WEIR_OTLP_GZIP;
    snprintf(config.otlp.endpoints, sizeof config.otlp.endpoints, "http://u:pw@127.0.0.1:%u/otlp/v1/traces",
             (unsigned)ntohs(address.sin_port));
    if (weir_export_otlp.open(&exporter, &config, &env, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void stop(void) {
    weir_export_otlp.close(exporter);
    shutdown(server.fd, SHUT_RDWR);
    pthread_join(server.thread, NULL);
    close(server.fd);
    weir_metrics_free(registry);
}

static void send_and_wait(const struct weir_batch *batch, struct ticket *ticket) {
    ticket_send(&weir_export_otlp, exporter, batch, ticket);
}

#define HEAD(status, more) "HTTP/1.1 " status "\r\n" more "Content-Length: 0\r\n\r\n"
#define OK                 HEAD("200 OK", "Content-Type: application/x-protobuf\r\n")

#define SHORT     (WEIR_S / 2)
#define LONG      (600 * WEIR_S) /* longer than anybody is stopped, and than ticket_await() waits */
#define TIMED_OUT "imed out"

struct answer {
    const char *answers[3];
    enum weir_settlement how;
    uint32_t rejected;
    uint64_t retry_after_s;
    const char *why;
    size_t repeat;
    int requests;
};

/* A date that is so many seconds ahead. */
static const char *dated(time_t seconds) {
    static char text[256];
    char date[64];
    time_t later = time(NULL) + seconds;
    strftime(date, sizeof date, "%a, %d %b %Y %H:%M:%S GMT", gmtime(&later));
    snprintf(text, sizeof text, HEAD("503 Away", "Retry-After: %s\r\n"), date);
    return text;
}

/* Sends a batch to a server that answers so; true: it became what the row says, else `not` says what. */
static bool ends_as(const struct answer *row, const struct weir_batch *batch, uint64_t timeout_ns, char not [800]) {
    memset(&server, 0, sizeof server);
    for (server.count = 0; server.count < 3 && (server.count == 0 || row->answers[server.count] != NULL);
         server.count++)
        server.answers[server.count] = row->answers[server.count];
    server.repeat = row->repeat;
    struct ticket ticket = {.settled = 0};
    start(timeout_ns);
    send_and_wait(batch, &ticket);
    stop();
    uint64_t after_s = (ticket.retry_after_ns + WEIR_S / 2) / WEIR_S, late_s = row->retry_after_s < 100 ? 0 : 600;
    snprintf(not, 800, "%d rejected %u after %d requests %d: %s", (int)ticket.how, ticket.ticket.rejected_spans,
             (int)after_s, server.requests, ticket.why);
    assert_null(strstr(ticket.why, "pw"));
    free(ticket.ticket.notes);
    return ticket.how == row->how && ticket.ticket.rejected_spans == row->rejected &&
           strstr(ticket.why, row->why) != NULL && server.requests == row->requests && after_s <= row->retry_after_s &&
           after_s + late_s >= row->retry_after_s;
}

static void test_each_answer(void **state) {
    (void)state;
    const struct answer rows[] = {
        {{OK}, WEIR_DELIVERED, 0, 0, "", 0, 1},
        {{HEAD("204 None", "")}, WEIR_DELIVERED, 0, 0, "", 0, 1},
        {{"HTTP/1.1 200 OK\r\nContent-Type: application/x-protobuf\r\nContent-Length: 9\r\n\r\n\x0a\x07\x08\x03\x12\x03"
          "bad"},
         WEIR_DELIVERED,
         3,
         0,
         "partial success: bad",
         0,
         1},
        {{HEAD("429 Slowly", "Retry-After: 7\r\n")}, WEIR_RETRY, 0, 7, "HTTP 429", 0, 1},
        {{dated(10000)}, WEIR_RETRY, 0, 10000, "HTTP 503", 0, 1},
        {{HEAD("503 Away", "")}, WEIR_RETRY, 0, 0, "HTTP 503", 0, 1},
        {{"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\nno \"id\"\n\x1b"},
         WEIR_REJECTED,
         SPANS,
         0,
         "HTTP 400: no 'id'",
         0,
         2}, /* without compression too */
        {{HEAD("401 Who", "")}, WEIR_RETRY, 0, 0, "HTTP 401", 0, 1},
        {{HEAD("302 Found", "Location: http://127.0.0.1:1/\r\n")}, WEIR_RETRY, 0, 0, "HTTP 302", 0, 1},
        {{HEAD("413 Large", ""), OK}, WEIR_DELIVERED, 0, 0, "", 0, 3},
        {{HEAD("415 What", ""), OK}, WEIR_DELIVERED, 0, 0, "", 0, 2},
        {{NULL}, WEIR_RETRY, 0, 0, "127.0.0.1", 0, 1},
        {{""}, WEIR_RETRY, 0, 0, TIMED_OUT, 0, 1},
        {{"HTTP/1.1 200 OK\r\n\r\n"}, WEIR_RETRY, 0, 0, "did not end", 1 << 20, 1},
        {{"SSH-2.0-OpenSSH\r\n"}, WEIR_RETRY, 0, 0, "127.0.0.1", 0, 1},
        {{"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf"}, WEIR_RETRY, 0, 0, TIMED_OUT, 0, 1},
    };
    struct weir_batch *batch = mesh_batch(SPANS);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char not [800];
        bool times_out = strcmp(rows[i].why, TIMED_OUT) == 0;
        /* On a machine that does something else the time may be over before the server has read it. */
        uint64_t timeout_ns = times_out ? SHORT : LONG;
        while (!ends_as(&rows[i], batch, timeout_ns, not )) {
            if (!times_out || timeout_ns > 40 * WEIR_S) fail_msg("row %zu: %s", i, not );
            timeout_ns *= 2;
        }
    }
    weir_batch_unref(batch);
}

static void test_what_is_sent(void **state) {
    (void)state;
    memset(&server, 0, sizeof server);
    server.answers[0] = HEAD("415 What", "");
    server.answers[1] = OK;
    server.count = 2;
    struct weir_batch *batch = mesh_batch(SPANS);
    start(LONG);
    for (int i = 0; i < 2; i++) {
        struct ticket ticket = {.settled = 0};
        send_and_wait(batch, &ticket);
        assert_int_equal(ticket.how, WEIR_DELIVERED);
        free(ticket.ticket.notes);
    }
    stop();
    static const struct {
        const char *line;
        int times;
    } rows[] = {
        {"POST /otlp/v1/traces HTTP/1.1\r\n", 3},
        {"Content-Type: application/x-protobuf\r\n", 3},
        {"Content-Encoding: gzip\r\n", 1}, /* 415: no more of it */
        {"weir-counted: 1\r\n", 3},
        {"X-Scope-OrgID: payments\r\n", 3},
        {"Authorization: Basic dTpwdw==\r\n", 3},
        {"Expect:", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        int times = 0;
        for (const char *at = server.heads; (at = strstr(at, rows[i].line)) != NULL; at++)
            times++;
        if (times != rows[i].times) fail_msg("%s%d times in\n%s", rows[i].line, times, server.heads);
    }
    weir_batch_unref(batch);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_answer),
        cmocka_unit_test(test_what_is_sent),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
