/* server.h - grpc.testing.TestService on collector/receive/grpc.h, for the clients of grpc's interoperability tests.
 * Source: grpc doc/interop-test-descriptions.md. */
#ifndef WEIR_TESTS_INTEROP_SERVER_H
#define WEIR_TESTS_INTEROP_SERVER_H
#include "collector/core/loop.h"
#include "collector/receive/grpc.h"

#include <grpc/testing/test.pb-c.h>

typedef Grpc__Testing__SimpleRequest simple_request; /* protobuf-c's names are long */

/* What a server should not do, so that one sees what a client makes of it (grpc
 * doc/negative-http2-test-descriptions.md).
 */
struct negative;
struct negative *negative_new(const char *name, struct weir_loop *loop);    /* NULL: no case has this name */
uint32_t negative_streams(const struct negative *negative, uint32_t usual); /* max_concurrent_streams */
struct weir_stream *negative_stream(struct negative *negative, int fd);     /* of a connection that came */
/* A unary call, whose answer is `body`, prefix included. True: the case answers it, now or later. */
bool negative_call(struct negative *negative, struct weir_grpc_call *call, const uint8_t *body, size_t size);
void negative_answered(struct negative *negative, struct weir_grpc_call *call); /* as usual */
const char *negative_verdict(const struct negative *negative);                  /* NULL: the client did as it should */
void negative_free(struct negative *negative);                                  /* accepts NULL */
#endif
