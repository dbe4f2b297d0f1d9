/* watch.h - GET /tail: the traces that are decided, as a stream of newline-delimited JSON that ends with the client.
 * On the admin's loop and thread; lanes wake it by a letter. A stream is suspended while there is nothing to say, looks
 * once a second whether its client is still there, and says every few that it lives. */
#ifndef WEIR_SERVE_WATCH_H
#define WEIR_SERVE_WATCH_H
#include "collector/core/loop.h"
#include "collector/sample/taps.h"

#include <microhttpd.h>

struct weir_watching;

/* `run` is called after streams were woken: libmicrohttpd has work. NULL: out of memory. */
struct weir_watching *weir_watching_new(struct weir_taps *taps, struct weir_loop *loop, void (*run)(void *self),
                                        void *self);
/* A response that streams, for the query of this request: service, rule, errors, min_duration, dropped. Returns the
 * status; other than 200 *response is NULL and `why` says what is wrong. */
unsigned weir_watching_open(struct weir_watching *watching, struct MHD_Connection *connection,
                            struct MHD_Response **response, struct weir_error *why);
/* Ends all streams: before MHD_stop_daemon(), which must find none that is suspended. The loop does not run any more.
 */
void weir_watching_end(struct weir_watching *watching);
void weir_watching_free(struct weir_watching *watching); /* after MHD_stop_daemon(); accepts NULL */
#endif
