/* ports.h - is a port free? Receivers share theirs between lanes by SO_REUSEPORT, which would also let a second process
 * share it in silence and take half of the traffic; so each port is first bound alone. */
#ifndef WEIR_PORTS_H
#define WEIR_PORTS_H
#include "collector/config/config.h"

/* Binds host:port for itself alone, and lets go. key: "receivers.grpc.listen"; datagram: UDP, else TCP.
 * WEIR_IO: err->text names key, address, reason and, where /proc tells, who holds it:
 *   receivers.grpc.listen: 127.0.0.1:4317 (TCP) is taken by envoy (pid 812) */
enum weir_status weir_port_check(const char *key, const struct weir_listen *listen, bool datagram,
                                 struct weir_error *err);
#endif
