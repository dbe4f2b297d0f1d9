/* tls.h - TLS as one more stream (receive/stream.h), on OpenSSL. One context a listener and lane; certificates, keys
 * and authorities are read again when their files change, and count for the connections to come; a file that does not
 * read changes nothing and is logged. */
#ifndef WEIR_RECEIVE_TLS_H
#define WEIR_RECEIVE_TLS_H
#include "collector/config/config.h"
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/receive/stream.h"

struct weir_tls;

/* *tls stays NULL, and the answer is WEIR_OK, when config->cert_file is "". WEIR_INVALID: a file is missing or not what
 * it should be; err->text names it. `alpn` ("h2", "http/1.1") is what is offered to clients that ask. */
enum weir_status weir_tls_open(struct weir_tls **tls, const char *name, const struct weir_tls_config *config,
                               const char *alpn, struct weir_metrics *metrics, struct weir_error *err);
/* A connected, non-blocking socket, owned from here on; the handshake goes on as the stream is read. Without a context
 * (tls NULL) a plain stream. NULL: out of memory, and the socket is closed. */
struct weir_stream *weir_tls_stream(struct weir_tls *tls, int fd);
void weir_tls_refresh(
    struct weir_tls *tls); /* looks whether files changed; the listener calls it now and then. NULL: nothing */
void weir_tls_close(struct weir_tls *tls); /* accepts NULL; streams that are open live on */

/* For programs that want a descriptor (libmicrohttpd): the other end of a socket pair into which what the stream
 * carries is pumped on the loop, both ways, with bounded buffers. -1: out of memory or descriptors, and fd is closed.
 */
struct weir_tls_pumps;
struct weir_tls_pumps *weir_tls_pumps_new(struct weir_loop *loop);
int weir_tls_pump(struct weir_tls_pumps *pumps, struct weir_tls *tls, int fd);
void weir_tls_pumps_free(struct weir_tls_pumps *pumps); /* ends what is open; accepts NULL */

/* Bearer tokens of a file, one a line; read again by refresh. *tokens stays NULL, with WEIR_OK, when path is "". */
struct weir_tokens;
enum weir_status weir_tokens_open(struct weir_tokens **tokens, const char *name, const char *path,
                                  struct weir_error *err);
void weir_tokens_refresh(struct weir_tokens *tokens);
/* `header` is the value of Authorization, NULL when there is none. In constant time for each token. tokens NULL: true.
 */
bool weir_tokens_allow(const struct weir_tokens *tokens, const char *header, size_t size);
void weir_tokens_close(struct weir_tokens *tokens);
#endif
