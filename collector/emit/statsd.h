/* statsd.h - the counters that the mesh's services send beside their spans, as DogStatsD lines; also of what is not
 * sampled.
 *
 *   mesh.requests:17|c|#service:cart,operation:GET_/items/list,status:2xx     since the last flush
 *   mesh.latency:12.408|ms|#service:cart                                      one a request
 *   mesh.busy:31|g|#service:cart                                              requests of the last flush
 *
 * Lines are packed into datagrams of up to 1,432 bytes: 1500 (Ethernet) less the IPv6 and UDP heads, with room for
 * options. */
#ifndef WEIR_EMIT_STATSD_H
#define WEIR_EMIT_STATSD_H
#include "collector/core/error.h"
#include "collector/emit/mesh.h"
#include "collector/emit/options.h"

enum { WEIR_EMIT_DATAGRAM_MAX = 1432, WEIR_EMIT_FLUSH_REQUESTS = 1000 };

struct weir_emit_statsd {
    const struct weir_emit_mesh *mesh;
    int fd;
    uint64_t lines, datagrams, failed; /* failed: datagrams that the system did not take */
    uint64_t (*requests)[2];           /* one a mesh operation, since the last flush: good, failed */
    uint32_t since;                    /* requests since the last flush */
    char (*tags)[112];                 /* one a mesh operation: "service:cart,operation:GET_/items/list" */
    uint32_t size, line_count;         /* of the datagram that fills */
    char datagram[WEIR_EMIT_DATAGRAM_MAX];
};

/* WEIR_IO: err->text names the address. */
enum weir_status weir_emit_statsd_open(struct weir_emit_statsd *statsd, const struct weir_listen *to,
                                       const struct weir_emit_mesh *mesh, struct weir_error *err);
void weir_emit_statsd_request(void *self, uint32_t operation, uint64_t ns, bool error); /* a weir_emit_watcher */
void weir_emit_statsd_flush(struct weir_emit_statsd *statsd);
void weir_emit_statsd_close(struct weir_emit_statsd *statsd); /* without a flush */
#endif
