#include "collector/receive/health.h"
#include "collector/core/wire.h"

#include <stdlib.h>
#include <string.h>

enum serving_status { SERVING = 1, NOT_SERVING = 2, SERVICE_UNKNOWN = 3 }; /* HealthCheckResponse.ServingStatus */
enum { WATCHERS_MAX = 1024 };

struct weir_health {
    const char *const *services;
    bool stopped;
    uint32_t count;
    struct watcher {
        struct weir_grpc_call *call;
        bool known; /* what it watches is a service of ours */
    } watchers[WATCHERS_MAX];
};

struct weir_health *weir_health_new(const char *const *services) {
    struct weir_health *health = calloc(1, sizeof *health);
    if (health != NULL) health->services = services;
    return health;
}

void weir_health_free(struct weir_health *health) {
    free(health);
}

/* HealthCheckRequest{1 service}, read in place: a tree of it would be many times as large as what was sent, and no
 * budget would know. False: it does not read, and the call is answered. */
static bool status_of(const struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *message,
                      enum serving_status *status) {
    struct weir_wire wire = weir_wire_of(message->bytes, message->size);
    struct weir_wire_field field;
    const uint8_t *service = NULL;
    uint64_t size = 0;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != 1 || field.type != WEIR_WIRE_BYTES) continue;
        service = field.bytes;
        size = field.value;
    }
    if (wire.why != NULL) {
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, "not a HealthCheckRequest", 0);
        return false;
    }
    bool known = size == 0;
    for (const char *const *name = health->services; *name != NULL && !known; name++)
        known = strlen(*name) == size && memcmp(*name, service, size) == 0;
    *status = !known ? SERVICE_UNKNOWN : health->stopped ? NOT_SERVING : SERVING;
    return true;
}

/* HealthCheckResponse{1 status} */
static size_t pack(enum serving_status status, uint8_t out[16]) {
    return (size_t)(weir_wire_put_uint(out, 1, status) - out);
}

void weir_health_check(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request) {
    enum serving_status status;
    uint8_t answer[16];
    if (!status_of(health, call, request, &status)) return;
    if (status == SERVICE_UNKNOWN) {
        weir_grpc_refuse(call, WEIR_GRPC_NOT_FOUND, "unknown service", 0);
    } else {
        weir_grpc_answer(call, answer, pack(status, answer));
    }
}

void weir_health_watch(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request) {
    enum serving_status status;
    uint8_t answer[16];
    if (!status_of(health, call, request, &status)) return;
    if (health->count == WATCHERS_MAX) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "too many watch already", 0);
        return;
    }
    if (!weir_grpc_send(call, answer, pack(status, answer))) return;
    if (health->stopped) {
        weir_grpc_end(call);
    } else {
        health->watchers[health->count++] = (struct watcher){call, status != SERVICE_UNKNOWN};
    }
}

void weir_health_gone(struct weir_health *health, struct weir_grpc_call *call) {
    for (uint32_t i = 0; i < health->count; i++) {
        if (health->watchers[i].call == call) health->watchers[i--] = health->watchers[--health->count];
    }
}

void weir_health_stop(struct weir_health *health) {
    uint8_t answer[16];
    size_t size = pack(NOT_SERVING, answer);
    health->stopped = true;
    for (uint32_t i = 0; i < health->count; i++) {
        struct watcher *watcher = &health->watchers[i];
        if (!watcher->known || weir_grpc_send(watcher->call, answer, size)) weir_grpc_end(watcher->call);
    }
    health->count = 0;
}
