/* http_peers.h - how long a connection of libmicrohttpd may take over one thing. The library ends connections on which
 * nothing moves; one that sends a byte of its headers now and then, or reads one of its answer, would keep its place
 * for hours, and there are only so many. One thread: that of the loop. */
#ifndef WEIR_RECEIVE_HTTP_PEERS_H
#define WEIR_RECEIVE_HTTP_PEERS_H
#include "collector/core/loop.h"
#include "collector/receive/address.h"

#include <microhttpd.h>

struct weir_http_peers;

struct weir_http_peers *weir_http_peers_new(struct weir_loop *loop);
/* From a MHD_NotifyConnectionCallback, with its arguments. */
void weir_http_peers_changed(struct weir_http_peers *peers, struct MHD_Connection *connection, void **context,
                             enum MHD_ConnectionNotificationCode code);
/* Is cut off in so long, unless told otherwise before; 0: takes all the time it likes. */
void weir_http_peer_within(struct weir_http_peers *peers, struct MHD_Connection *connection, uint64_t ns);
/* Who is at the other end, and what it asks for behind the `?`: as http.h has it. */
void weir_http_peer_address(struct MHD_Connection *connection, char out[WEIR_ADDRESS_BYTES]);
const char *weir_http_peer_argument(struct MHD_Connection *connection, const char *name, uint32_t *count);
void weir_http_peers_free(struct weir_http_peers *peers); /* after the daemon was stopped; accepts NULL */
#endif
