/* resolve.h - a name into addresses without waiting: an address at once, a name on a thread that ends with the answer.
 */
#ifndef WEIR_RPC_RESOLVE_H
#define WEIR_RPC_RESOLVE_H
#include "collector/core/error.h"

#include <netdb.h>
#include <stdbool.h>

struct weir_rpc_resolve;

/* Begins. NULL: no memory, no descriptors or no thread. */
struct weir_rpc_resolve *weir_rpc_resolve_start(const char *host, const char *port);
int weir_rpc_resolve_fd(const struct weir_rpc_resolve *resolve); /* readable once it is known */
/* False: not known yet. Else *addresses are the caller's, for freeaddrinfo(); NULL, and err says why, when there are
 * none. */
bool weir_rpc_resolve_done(struct weir_rpc_resolve *resolve, struct addrinfo **addresses, struct weir_error *err);
void weir_rpc_resolve_free(struct weir_rpc_resolve *resolve); /* at any time, without waiting; accepts NULL */
#endif
