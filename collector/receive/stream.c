#include "collector/receive/stream.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct plain {
    struct weir_stream stream; /* first */
    int fd;
};

static ssize_t outcome(ssize_t n) {
    if (n >= 0) return n;
    return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? WEIR_STREAM_LATER : WEIR_STREAM_BROKEN;
}

static ssize_t plain_read(struct weir_stream *stream, uint8_t *bytes, size_t size) {
    return outcome(recv(((struct plain *)stream)->fd, bytes, size, 0));
}

static ssize_t plain_write(struct weir_stream *stream, const uint8_t *bytes, size_t size) {
    return outcome(send(((struct plain *)stream)->fd, bytes, size, MSG_NOSIGNAL));
}

static uint32_t plain_wants(const struct weir_stream *stream) {
    (void)stream;
    return 0;
}

static int plain_fd(const struct weir_stream *stream) {
    return ((const struct plain *)stream)->fd;
}

static void plain_close(struct weir_stream *stream) {
    close(((struct plain *)stream)->fd);
    free(stream);
}

static const struct weir_stream_kind plain_kind = {
    .read = plain_read,
    .write = plain_write,
    .wants = plain_wants,
    .fd = plain_fd,
    .close = plain_close,
};

struct weir_stream *weir_stream_plain(int fd) {
    struct plain *plain = malloc(sizeof *plain);
    if (plain == NULL) {
        close(fd);
        return NULL;
    }
    *plain = (struct plain){.stream.kind = &plain_kind, .fd = fd};
    return &plain->stream;
}
