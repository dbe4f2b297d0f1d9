/* What a server may send over a connection with three calls under way. The first byte: bit 0 the bytes come behind an
 * empty SETTINGS frame; bit 1 in small pieces; bit 2 the calls' time is over halfway. Each call is given back exactly
 * once, and the connection ends with its bytes. */
#define _GNU_SOURCE /* accept4 */
#include "collector/rpc/connection.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { CALLS = 3, BODY_BYTES = 40000, INPUT_MAX = 65536 };
static uint8_t body[BODY_BYTES];
static int given_back[CALLS];
static struct weir_rpc_call *calls;

static void released(void *self, struct weir_rpc_call *call, enum weir_rpc_fate fate) {
    (void)self;
    (void)fate;
    uint64_t rejected;
    given_back[call - calls]++;
    weir_rpc_answer_rejected(&call->answer, &rejected);
    if (call->answer.body_size > WEIR_RPC_ANSWER_MAX) abort();
}

static void drain(int fd) {
    uint8_t sink[4096];
    while (recv(fd, sink, sizeof sink, MSG_DONTWAIT) > 0) {
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct sockaddr_un address = {.sun_family = AF_UNIX};
    static struct addrinfo info;
    static int listener = -1;
    static const uint8_t settings[9] = {0, 0, 0, 4, 0, 0, 0, 0, 0};
    if (size < 1 || size > INPUT_MAX) return 0;
    if (listener < 0) { /* in the abstract name space: nothing is left behind */
        int wrote = snprintf(address.sun_path + 1, sizeof address.sun_path - 1, "weir-fuzz-rpc-%d", (int)getpid());
        info = (struct addrinfo){.ai_family = AF_UNIX,
                                 .ai_socktype = SOCK_STREAM,
                                 .ai_addr = (struct sockaddr *)&address,
                                 .ai_addrlen = (socklen_t)(sizeof(sa_family_t) + 1 + (size_t)wrote)};
        listener = socket(AF_UNIX, SOCK_STREAM, 0);
        if (bind(listener, info.ai_addr, info.ai_addrlen) != 0 || listen(listener, 4) != 0) abort();
        calls = calloc(CALLS, sizeof *calls);
        if (calls == NULL) abort();
    }
    const struct weir_rpc_connection_options options = {
        .authority = "server:1", .path = "/a/b", .user_agent = "fuzz", .released = released};
    struct weir_rpc_connection *connection = NULL;
    struct weir_error err = {0};
    memset(given_back, 0, sizeof given_back);
    if (weir_rpc_connection_open(&connection, &info, &options, &err) != WEIR_OK) abort();
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
    if (weir_rpc_connection_advance(connection, &err) != WEIR_OK || !weir_rpc_connection_is_open(connection)) abort();
    int submitted = 0;
    for (; submitted < CALLS; submitted++) {
        calls[submitted] = (struct weir_rpc_call){.body = {.bytes = body, .size = BODY_BYTES}, .deadline_ns = 5};
        weir_rpc_answer_reset(&calls[submitted].answer);
        if (weir_rpc_connection_submit(connection, &calls[submitted]) != WEIR_OK) abort();
    }
    bool alive = weir_rpc_connection_flush(connection, &err) == WEIR_OK;
    if ((data[0] & 1) != 0 && send(fd, settings, sizeof settings, MSG_NOSIGNAL) < 0) alive = false;
    size_t step = (data[0] & 2) != 0 ? 7 : INPUT_MAX;
    for (size_t at = 1; at < size && alive; at += step) {
        size_t now = size - at < step ? size - at : step;
        drain(fd);
        if (send(fd, data + at, now, MSG_NOSIGNAL) < 0) break;
        if ((data[0] & 4) != 0 && at >= size / 2) weir_rpc_connection_expire(connection, 10);
        alive = weir_rpc_connection_read(connection, &err) == WEIR_OK &&
                weir_rpc_connection_flush(connection, &err) == WEIR_OK;
    }
    close(fd);
    for (int i = 0; i < 100 && alive; i++) /* the end is an error, and the first is the last */
        alive = weir_rpc_connection_flush(connection, &err) == WEIR_OK &&
                weir_rpc_connection_read(connection, &err) == WEIR_OK;
    if (alive || err.text[0] == 0) abort();
    weir_rpc_connection_close(&connection);
    for (int i = 0; i < CALLS; i++) {
        if (given_back[i] != 1) abort();
    }
    return 0;
}
