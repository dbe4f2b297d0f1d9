/* stream.h - bytes to and from a peer. Protocol code reads and writes through this and touches no descriptor, so that
 * TLS is one more kind of stream. */
#ifndef WEIR_RECEIVE_STREAM_H
#define WEIR_RECEIVE_STREAM_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum { WEIR_STREAM_END = 0, WEIR_STREAM_BROKEN = -1, WEIR_STREAM_LATER = -2 };

struct weir_stream;
struct weir_stream_kind {
    /* How many bytes were read (1 or more), or END, BROKEN, LATER (nothing there now). Never blocks. */
    ssize_t (*read)(struct weir_stream *stream, uint8_t *bytes, size_t size);
    /* How many were written (may be fewer than `size`), or BROKEN, LATER. */
    ssize_t (*write)(struct weir_stream *stream, const uint8_t *bytes, size_t size);
    /* The epoll events that the stream needs to get on (a TLS handshake), instead of those that its user would wait
     * for; 0: the user's. */
    uint32_t (*wants)(const struct weir_stream *stream);
    int (*fd)(const struct weir_stream *stream); /* to be watched */
    void (*close)(struct weir_stream *stream);   /* and frees */
};
struct weir_stream {
    const struct weir_stream_kind *kind;
};

/* A connected, non-blocking socket, owned from here on. NULL: out of memory, and the socket is closed. */
struct weir_stream *weir_stream_plain(int fd);
#endif
