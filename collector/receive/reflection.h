/* reflection.h - grpc.reflection.v1.ServerReflection (and v1alpha, the same messages): what a client like grpcurl has
 * to know to call a service that it was not built for. Source: grpc doc/server-reflection.md. The descriptors are those
 * of schemas/ (CMakeLists.txt, WEIR_SERVED), made at build time. */
#ifndef WEIR_RECEIVE_REFLECTION_H
#define WEIR_RECEIVE_REFLECTION_H
#include "collector/core/buffer.h"
#include "collector/receive/grpc.h"

/* Answers one ServerReflectionRequest; more may follow. services: their names, NULL at the end. */
void weir_reflection_asked(const char *const *services, struct weir_grpc_call *call, const struct weir_batch *request);
/* Appends the ServerReflectionResponse to request[0 .. size). False: the request does not read. */
bool weir_reflection_answer(const char *const *services, const uint8_t *request, size_t size, struct weir_buffer *out);
#endif
