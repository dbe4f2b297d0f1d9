/* tls.h - TLS as one more stream (receive/stream.h), on OpenSSL. One context a listener and lane; certificates, keys
 * and authorities are read again when their files change, and count for the connections to come; files that do not
 * read or do not belong together change nothing and are logged. All calls are for one thread. */
#ifndef WEIR_RECEIVE_TLS_H
#define WEIR_RECEIVE_TLS_H
#include "collector/config/config.h"
#include "collector/core/loop.h"
#include "collector/core/metrics.h"
#include "collector/receive/stream.h"

struct weir_tls;

/* *tls stays NULL, and the answer is WEIR_OK, when config->cert_file is "". WEIR_INVALID: a file is missing or not what
 * it should be; err->text names its key and it. name: the receiver's, as in its metrics. `alpn` ("h2",
 * "http/1.1,http/1.0") is what clients that ask may choose from, NULL or "": nothing is said. metrics NULL: only looked
 * at, to be closed again. */
enum weir_status weir_tls_open(struct weir_tls **tls, const char *name, const struct weir_tls_config *config,
                               const char *alpn, struct weir_metrics *metrics, struct weir_error *err);
/* From now on looks once a second whether files changed, also while nobody connects, and ends whoever has not ended the
 * handshake within ten. NULL: nothing. */
void weir_tls_watch(struct weir_tls *tls, struct weir_loop *loop);
/* A connected, non-blocking socket, owned from here on; the handshake goes on as the stream is read or written.
 * Without a context (tls NULL) a plain stream. NULL: out of memory, and the socket is closed. */
struct weir_stream *weir_tls_stream(struct weir_tls *tls, int fd);
void weir_tls_refresh(struct weir_tls *tls); /* looks at the files now. NULL: nothing */
void weir_tls_close(struct weir_tls *tls);   /* accepts NULL; streams that are open live on */

/* For programs that want a descriptor (libmicrohttpd): the other end of a socket pair into which what the stream
 * carries is pumped on the loop, both ways, with bounded buffers. Without a context (tls NULL) the socket itself. -1:
 * out of memory or descriptors, and fd is closed. */
struct weir_tls_pumps;
struct weir_tls_pumps *weir_tls_pumps_new(struct weir_loop *loop); /* NULL: out of memory */
int weir_tls_pump(struct weir_tls_pumps *pumps, struct weir_tls *tls, int fd);
void weir_tls_pumps_free(struct weir_tls_pumps *pumps); /* ends what is open; accepts NULL */
#endif
