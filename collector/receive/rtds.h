/* rtds.h - Envoys that ask for their runtime: each is told its part of the plan when it subscribes and when that part
 * has changed, and says whether it took it. Source: envoy docs "xDS REST and gRPC protocol", state of the world, of the
 * services envoy.service.runtime.v3.RuntimeDiscoveryService and envoy.service.discovery.v3.AggregatedDiscoveryService.
 *
 *   Envoy                                                Weir
 *     node, names, version of what it has ─────────────>   the same as the plan: nothing; else:
 *     <────────────────────── version, runtimes, nonce 1
 *     nonce 1, version ────────────────────────────────>   taken
 *     nonce 1, version before, error_detail ───────────>   refused: not told again until the plan says something else
 *     <────────────────────── another plan: nonce 2 ...
 *
 * One a lane, on its thread. Where there is no plan a proxy that has nothing yet is told an empty runtime, so that it
 * does not wait with its start, and one that was told something keeps it. */
#ifndef WEIR_RECEIVE_RTDS_H
#define WEIR_RECEIVE_RTDS_H
#include "collector/receive/grpc.h"
#include "collector/receive/receiver.h"

struct weir_rtds;

struct weir_rtds *weir_rtds_new(const struct weir_receiver_env *env); /* NULL: out of memory */
void weir_rtds_start(struct weir_rtds *rtds);                         /* hears of other plans from now on */
/* One DiscoveryRequest. aggregated: its stream may ask for resources of all types; others than runtimes are never
 * answered. */
void weir_rtds_asked(struct weir_rtds *rtds, struct weir_grpc_call *call, const struct weir_batch *request,
                     bool aggregated);
void weir_rtds_room(struct weir_rtds *rtds, struct weir_grpc_call *call);
void weir_rtds_half_closed(struct weir_rtds *rtds, struct weir_grpc_call *call);
void weir_rtds_gone(struct weir_rtds *rtds, struct weir_grpc_call *call);
void weir_rtds_free(struct weir_rtds *rtds); /* after the server whose calls are its streams; accepts NULL */
#endif
