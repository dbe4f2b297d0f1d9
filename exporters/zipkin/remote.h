/* remote.h - who a CLIENT or PRODUCER span called, from its attributes.
 * Source: OpenTelemetry specification, trace/sdk_exporters/zipkin.md, "Remote endpoint": the table of ranks. The best
 * name becomes the endpoint's name and the best IP address its address, so that `peer.service` and
 * `network.peer.address` complete each other; an address alone gives no name, as with Zipkin's own tracers. */
#ifndef WEIR_EXPORTERS_ZIPKIN_REMOTE_H
#define WEIR_EXPORTERS_ZIPKIN_REMOTE_H
#include "exporters/zipkin/map.h"

enum { WEIR_ZIPKIN_PORTS = 5 };

struct weir_zipkin_remote { /* zeroed before a span's first attribute */
    struct weir_zipkin_endpoint endpoint;
    uint8_t name_rank, ip_rank; /* 0 = none yet */
    uint8_t ip_ports;           /* 1 + the group of ports that belongs to the address; 0 = the server's */
    uint16_t ports[WEIR_ZIPKIN_PORTS];
};

/* Offers one attribute; most are none of the table's and cost a look at their length. `number` is the value of an
 * integer, else 0. */
void weir_zipkin_remote_offer(struct weir_zipkin_remote *remote, struct weir_zipkin_text key,
                              struct weir_zipkin_text value, uint64_t number);
/* After the last one: remote->endpoint is complete. */
void weir_zipkin_remote_close(struct weir_zipkin_remote *remote);
#endif
