/* health.h - grpc.health.v1.Health (grpc doc/health-checking.md): Check, and Watch as a stream that tells of each
 * change. */
#ifndef WEIR_RECEIVE_HEALTH_H
#define WEIR_RECEIVE_HEALTH_H
#include "collector/receive/grpc.h"

struct weir_health;

struct weir_health *weir_health_new(
    const char *const *services); /* names, NULL at the end; "" (the server) is always one. NULL: out of memory */
void weir_health_check(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request);
void weir_health_watch(struct weir_health *health, struct weir_grpc_call *call, const struct weir_batch *request);
void weir_health_gone(struct weir_health *health, struct weir_grpc_call *call); /* who watched has left */
void weir_health_stop(struct weir_health *health); /* NOT_SERVING from now on, and an end to each stream */
void weir_health_free(struct weir_health *health); /* accepts NULL */
#endif
