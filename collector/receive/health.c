#include "collector/receive/health.h"
#include "grpc/health/v1/health.pb-c.h"

#include <stdlib.h>
#include <string.h>

typedef Grpc__Health__V1__HealthCheckResponse__ServingStatus status_code;
#define SERVING         GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define SERVICE_UNKNOWN GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

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

/* False: the request does not read, and the call is answered. */
static bool status_of(const struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *message,
                      status_code *status) {
    Grpc__Health__V1__HealthCheckRequest *request =
        grpc__health__v1__health_check_request__unpack(NULL, message->size, message->bytes);
    if (request == NULL) {
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, "not a HealthCheckRequest", 0);
        return false;
    }
    bool known = request->service[0] == 0;
    for (const char *const *name = health->services; *name != NULL; name++)
        known |= strcmp(*name, request->service) == 0;
    grpc__health__v1__health_check_request__free_unpacked(request, NULL);
    *status = !known ? SERVICE_UNKNOWN : health->stopped ? NOT_SERVING : SERVING;
    return true;
}

static size_t pack(status_code status, uint8_t out[16]) {
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = status;
    return grpc__health__v1__health_check_response__pack(&response, out);
}

void weir_health_check(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request) {
    status_code status;
    uint8_t answer[16];
    if (!status_of(health, call, request, &status)) return;
    if (status == SERVICE_UNKNOWN) {
        weir_grpc_refuse(call, WEIR_GRPC_NOT_FOUND, "unknown service", 0);
    } else {
        weir_grpc_answer(call, answer, pack(status, answer));
    }
}

void weir_health_watch(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request) {
    status_code status;
    uint8_t answer[16];
    if (!status_of(health, call, request, &status)) return;
    if (health->count == WATCHERS_MAX) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "too many watch already", 0);
        return;
    }
    weir_grpc_send(call, answer, pack(status, answer));
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
        if (health->watchers[i].known) weir_grpc_send(health->watchers[i].call, answer, size);
        weir_grpc_end(health->watchers[i].call);
    }
    health->count = 0;
}
