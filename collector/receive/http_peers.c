#include "collector/receive/http_peers.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { LOOK_MS = 1000 };

struct peer {
    struct peer *next, **at;
    struct MHD_Connection *connection;
    uint64_t due_ns; /* 0: none */
};

struct weir_http_peers {
    struct weir_timer timer; /* first; runs while there is anybody */
    struct weir_loop *loop;
    struct peer *first;
};

static void look(struct weir_timer *timer) {
    struct weir_http_peers *peers = (struct weir_http_peers *)timer;
    uint64_t now_ns = weir_loop_now(peers->loop);
    for (struct peer *peer = peers->first; peer != NULL; peer = peer->next) {
        if (peer->due_ns == 0 || peer->due_ns > now_ns) continue;
        const union MHD_ConnectionInfo *info =
            MHD_get_connection_info(peer->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
        peer->due_ns = 0;
        if (info != NULL) shutdown(info->connect_fd, SHUT_RDWR); /* the library sees the end, and does the rest */
    }
    if (peers->first != NULL) weir_loop_set(peers->loop, timer, now_ns + LOOK_MS * WEIR_MS);
}

struct weir_http_peers *weir_http_peers_new(struct weir_loop *loop) {
    struct weir_http_peers *peers = calloc(1, sizeof *peers);
    if (peers == NULL) return NULL;
    peers->timer.fire = look;
    peers->loop = loop;
    return peers;
}

void weir_http_peers_changed(struct weir_http_peers *peers, struct MHD_Connection *connection, void **context,
                             enum MHD_ConnectionNotificationCode code) {
    struct peer *peer = *context;
    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        *context = NULL;
        if (peer == NULL) return;
        *peer->at = peer->next;
        if (peer->next != NULL) peer->next->at = peer->at;
        free(peer);
        return;
    }
    peer = calloc(1, sizeof *peer);
    *context = peer;
    if (peer == NULL) return; /* the library's own patience is left */
    peer->connection = connection;
    peer->next = peers->first;
    peer->at = &peers->first;
    if (peer->next != NULL) peer->next->at = &peer->next;
    peers->first = peer;
    if (peers->timer.place == 0)
        weir_loop_set(peers->loop, &peers->timer, weir_loop_now(peers->loop) + LOOK_MS * WEIR_MS);
}

void weir_http_peer_within(struct weir_http_peers *peers, struct MHD_Connection *connection, uint64_t ns) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct peer *peer = info != NULL ? info->socket_context : NULL;
    if (peer != NULL) peer->due_ns = ns > 0 ? weir_loop_now(peers->loop) + ns : 0;
}

void weir_http_peers_free(struct weir_http_peers *peers) {
    if (peers == NULL) return;
    weir_loop_unset(peers->loop, &peers->timer);
    free(peers);
}

/* ---- what a request says ---- */

struct argument {
    const char *name, *value;
    uint32_t count;
};

static enum MHD_Result see_argument(void *self, enum MHD_ValueKind kind, const char *name, const char *value) {
    struct argument *argument = self;
    (void)kind;
    if (strcmp(name, argument->name) == 0 && argument->count++ == 0) argument->value = value;
    return MHD_YES;
}

const char *weir_http_peer_argument(struct MHD_Connection *connection, const char *name, uint32_t *count) {
    struct argument argument = {.name = name};
    MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, see_argument, &argument);
    *count = argument.count;
    return argument.value;
}

void weir_http_peer_address(struct MHD_Connection *connection, char out[WEIR_ADDRESS_BYTES]) {
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    weir_address_text(info != NULL ? info->client_addr : NULL, out);
}
