#include "collector/emit/statsd.h"

#include <errno.h>
#include <inttypes.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINE_MAX_BYTES = 256 };

static void name_tags(struct weir_emit_statsd *statsd, uint32_t index) {
    const struct weir_emit_operation *operation = &statsd->mesh->operations[index];
    char *tags = statsd->tags[index], name[64];
    weir_emit_operation_name(operation, name, sizeof name);
    snprintf(tags, sizeof statsd->tags[index], "service:%s,operation:%s", statsd->mesh->names[operation->service],
             name);
    for (; *tags != 0; tags++) {
        if (*tags == ' ') *tags = '_';
    }
}

enum weir_status weir_emit_statsd_open(struct weir_emit_statsd *statsd, const struct weir_listen *to,
                                       const struct weir_emit_mesh *mesh, struct weir_error *err) {
    memset(statsd, 0, sizeof *statsd);
    statsd->mesh = mesh;
    statsd->fd = -1;
    char port[8];
    snprintf(port, sizeof port, "%u", (unsigned)to->port);
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *addresses;
    int unresolved = getaddrinfo(to->host, port, &hints, &addresses);
    if (unresolved != 0)
        return weir_fail(err, WEIR_IO, 0, false, "--statsd %s:%s: %s", to->host, port, gai_strerror(unresolved));
    int failed = 0;
    statsd->fd = socket(addresses->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (statsd->fd < 0 || connect(statsd->fd, addresses->ai_addr, addresses->ai_addrlen) != 0) failed = errno;
    freeaddrinfo(addresses);
    statsd->requests = calloc(mesh->operation_count, sizeof *statsd->requests);
    statsd->tags = calloc(mesh->operation_count, sizeof *statsd->tags);
    if (failed == 0 && (statsd->requests == NULL || statsd->tags == NULL)) failed = ENOMEM;
    if (failed != 0) {
        weir_emit_statsd_close(statsd);
        return weir_fail(err, WEIR_IO, failed, false, "--statsd %s:%s", to->host, port);
    }
    for (uint32_t i = 0; i < mesh->operation_count; i++)
        name_tags(statsd, i);
    return WEIR_OK;
}

static void send_datagram(struct weir_emit_statsd *statsd) {
    if (statsd->size == 0) return;
    /* Without the last line's end. A refused one is what the port's owner answered to an earlier one: send it again. */
    ssize_t sent = send(statsd->fd, statsd->datagram, statsd->size - 1, MSG_NOSIGNAL);
    if (sent < 0 && (errno == ECONNREFUSED || errno == EINTR))
        sent = send(statsd->fd, statsd->datagram, statsd->size - 1, MSG_NOSIGNAL);
    if (sent < 0) {
        statsd->failed++;
    } else {
        statsd->datagrams++;
        statsd->lines += statsd->line_count;
    }
    statsd->size = statsd->line_count = 0;
}

static void put_line(struct weir_emit_statsd *statsd, const char *line, int size) {
    if (size <= 0 || size >= LINE_MAX_BYTES) return; /* cannot be: names and numbers are bounded */
    if (statsd->size + (uint32_t)size + 1 > WEIR_EMIT_DATAGRAM_MAX) send_datagram(statsd);
    memcpy(statsd->datagram + statsd->size, line, (size_t)size);
    statsd->datagram[statsd->size + (uint32_t)size] = '\n';
    statsd->size += (uint32_t)size + 1;
    statsd->line_count++;
}

void weir_emit_statsd_request(void *self, uint32_t operation, uint64_t ns, bool error) {
    struct weir_emit_statsd *statsd = self;
    char line[LINE_MAX_BYTES];
    statsd->requests[operation][error]++;
    put_line(statsd, line,
             snprintf(line, sizeof line, "mesh.latency:%" PRIu64 ".%03" PRIu64 "|ms|#service:%s", ns / 1000000,
                      ns / 1000 % 1000, statsd->mesh->names[statsd->mesh->operations[operation].service]));
    if (++statsd->since >= WEIR_EMIT_FLUSH_REQUESTS) weir_emit_statsd_flush(statsd);
}

void weir_emit_statsd_flush(struct weir_emit_statsd *statsd) {
    char line[LINE_MAX_BYTES];
    uint64_t busy = 0;
    for (uint32_t i = 0; i < statsd->mesh->operation_count && statsd->since > 0; i++) {
        const struct weir_emit_operation *operation = &statsd->mesh->operations[i];
        for (int error = 0; error < 2; error++) {
            uint64_t count = statsd->requests[i][error];
            busy += count;
            statsd->requests[i][error] = 0;
            if (count == 0) continue;
            put_line(statsd, line,
                     snprintf(line, sizeof line, "mesh.requests:%" PRIu64 "|c|#%s,status:%s", count, statsd->tags[i],
                              error ? "5xx" : "2xx"));
        }
        bool last = i + 1 == statsd->mesh->operation_count ||
                    statsd->mesh->operations[i + 1].service != operation->service ||
                    statsd->mesh->operations[i + 1].client; /* SERVER operations stand first, by service */
        if (operation->client || !last) continue;
        put_line(statsd, line,
                 snprintf(line, sizeof line, "mesh.busy:%" PRIu64 "|g|#service:%s", busy,
                          statsd->mesh->names[operation->service]));
        busy = 0;
    }
    statsd->since = 0;
    send_datagram(statsd);
}

void weir_emit_statsd_close(struct weir_emit_statsd *statsd) {
    if (statsd->fd >= 0) close(statsd->fd);
    statsd->fd = -1;
    free(statsd->requests);
    free(statsd->tags);
    statsd->requests = NULL;
    statsd->tags = NULL;
}
