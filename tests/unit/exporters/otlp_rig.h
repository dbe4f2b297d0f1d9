/* otlp_rig.h - the OTLP exporter, servers in this program that answer by a script (emit/peer.h), and what they took. */
#ifndef WEIR_TESTS_OTLP_RIG_H
#define WEIR_TESTS_OTLP_RIG_H
#include "exporters/exporter.h"
#include "spans.h"
#include "ticket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include "../emit/peer.h"

enum { SPANS = 64 };

static struct weir_metrics *registry;
static struct weir_exporter_config config;
static void *exporter;

static inline int setup(void **state) {
    (void)state;
    registry = weir_metrics_new();
    config = (struct weir_exporter_config){
        .type = "otlp", .name = "otlp", .retry_initial_ns = 3600 * WEIR_S, .retry_max_ns = 3600 * WEIR_S};
    config.otlp.timeout_ns = 600 * WEIR_S; /* longer than anybody is stopped, and than ticket_await() waits */
    config.otlp.max_request_bytes = 1 << 20;
    return 0;
}
static inline void stop(void) {
    weir_export_otlp.close(exporter);
    exporter = NULL;
}
static inline int teardown(void **state) {
    (void)state;
    stop();
    weir_metrics_free(registry);
    return 0;
}
static inline void endpoint(const char *scheme, uint16_t port) {
    size_t used = strlen(config.otlp.endpoints);
    snprintf(config.otlp.endpoints + used, sizeof config.otlp.endpoints - used, "%s%s://127.0.0.1:%u",
             used > 0 ? ", " : "", scheme, (unsigned)port);
}
static inline void start(void) {
    struct weir_exporter_env env = {.metrics = registry, .clock = &weir_clock_system};
    struct weir_error err;
    if (weir_export_otlp.open(&exporter, &config, &env, &err) != WEIR_OK) fail_msg("%s", err.text);
}

static inline void send_and_wait(const struct weir_batch *batch, struct ticket *ticket) {
    ticket_send(&weir_export_otlp, exporter, batch, ticket);
}
static inline uint64_t metric(const char *name) { /* summed over endpoints; name may go on with labels */
    struct weir_buffer page = {0};
    uint64_t sum = 0;
    weir_metrics_expose(registry, &page);
    weir_buffer_byte(&page, 0);
    for (char *line = strtok((char *)page.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        if (line[0] != '#' && strstr(line, name) != NULL) sum += strtoull(strrchr(line, ' '), NULL, 10);
    }
    weir_buffer_free(&page);
    return sum;
}

/* The span ids that a peer took, from requests that are not compressed. */
struct taken {
    pthread_mutex_t lock;
    uint64_t ids[4 * SPANS];
    uint32_t count;
    uint32_t requests, most; /* spans of the largest request */
};
static inline void take(struct peer *peer, const uint8_t *message, size_t size) {
    struct taken *taken = peer->self;
    struct weir_wire request = weir_wire_of(message, size);
    struct weir_wire_field resource, scope, span, field;
    uint32_t before = taken->count;
    pthread_mutex_lock(&taken->lock);
    while (weir_wire_next(&request, &resource)) {
        struct weir_wire in_resource = weir_wire_of(resource.bytes, resource.value);
        while (weir_wire_next(&in_resource, &scope)) {
            struct weir_wire in_scope = weir_wire_of(scope.bytes, scope.value);
            if (scope.number != 2) continue;
            while (weir_wire_next(&in_scope, &span)) {
                struct weir_wire in_span = weir_wire_of(span.bytes, span.value);
                while (span.number == 2 && weir_wire_next(&in_span, &field)) {
                    if (field.number != 2 || taken->count == 4 * SPANS) continue;
                    memcpy(&taken->ids[taken->count++], field.bytes, 8);
                }
            }
        }
    }
    taken->requests++;
    if (taken->count - before > taken->most) taken->most = taken->count - before;
    pthread_mutex_unlock(&taken->lock);
}
static inline int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}
static inline uint32_t distinct(struct taken *taken) {
    uint32_t count = 0;
    qsort(taken->ids, taken->count, sizeof *taken->ids, by_value);
    for (uint32_t i = 0; i < taken->count; i++)
        count += i == 0 || taken->ids[i] != taken->ids[i - 1];
    return count;
}
#endif
