/* access_log.h - a line of a proxy's access log, sent by syslog, into a span and counters. The line is ours to define
 * (docs/access-log.md): `weir=1 key=value key="value" ... eol=1`, in any order but for the first and the last, with
 * NGINX's escaping (\xHH). Sources: nginx ngx_http_log_module (escape=default), ngx_syslog.c (2 KiB a message); RFC
 * 3164, 5424. */
#ifndef WEIR_DECODE_ACCESS_LOG_H
#define WEIR_DECODE_ACCESS_LOG_H
#include "collector/core/point.h"
#include "collector/decode/otlp.h"

enum weir_access_log_refusal {
    WEIR_ACCESS_LOG_NOT_OURS,  /* no `weir=1` in it */
    WEIR_ACCESS_LOG_TRUNCATED, /* it does not end with eol=1 */
    WEIR_ACCESS_LOG_MALFORMED, /* a value that is not what its key says, or a key that is missing */
    WEIR_ACCESS_LOG_BAD_ID,
    WEIR_ACCESS_LOG_BAD_RATE, /* not above 0 and up to 1 */
    WEIR_ACCESS_LOG_REFUSALS
};

struct weir_access_log; /* what one lane keeps between lines; one thread */
/* `otlp` is borrowed. */
struct weir_access_log *weir_access_log_new(struct weir_otlp *otlp, struct weir_names *names,
                                            uint32_t label_value_bytes_max);
void weir_access_log_free(struct weir_access_log *log);

struct weir_access_log_calls {
    void *self;
    void (*point)(void *self, const struct weir_point *point); /* of a line with count=1 */
};

/* One datagram: syslog's head, and a line behind it.
 *   WEIR_OK       its span, if it has one, is in the batch, and its points were given
 *   WEIR_INVALID  *why says which refusal, err->text what; nothing came of it
 *   WEIR_FULL     no room for the span; its points were given */
enum weir_status weir_access_log_decode(struct weir_access_log *log, const uint8_t *bytes, size_t size,
                                        struct weir_batch *batch, const struct weir_access_log_calls *calls,
                                        enum weir_access_log_refusal *why, struct weir_error *err);
#endif
