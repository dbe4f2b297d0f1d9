/* tls_inside.h - what tls.c (contexts), tls_stream.c and tls_pump.c know of each other. */
#ifndef WEIR_RECEIVE_TLS_INSIDE_H
#define WEIR_RECEIVE_TLS_INSIDE_H
#include "collector/receive/tls.h"

#include <openssl/ssl.h>

SSL *weir_tls_new_ssl(struct weir_tls *tls); /* of the context now in force; NULL: out of memory */
struct weir_tls *weir_tls_ref(struct weir_tls *tls);
void weir_tls_unref(struct weir_tls *tls);
/* Embedded in what shakes hands. When it takes longer than it may, its socket is shut down, so that its user hears of
 * the end as of any other. */
struct weir_tls_shaking {
    struct weir_tls_shaking *next, **slot;
    uint64_t since_ns;
    int fd;
};
void weir_tls_shake(struct weir_tls *tls, struct weir_tls_shaking *shaking);
/* Counts how a handshake ended. why: of one that failed; NULL: the peer left, or was left, before its end. */
void weir_tls_shaken(struct weir_tls *tls, struct weir_tls_shaking *shaking, bool ok, const char *why);
/* The reason on top of OpenSSL's queue of errors, which is empty afterwards; `otherwise` when there was none. */
const char *weir_tls_reason(char *out, size_t out_size, const char *otherwise);

/* Says that nothing more will be written: close_notify and FIN. What the peer still sends is nobody's. */
void weir_tls_finish(struct weir_stream *stream);
#endif
