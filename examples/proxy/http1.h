/* http1.h - heads and bodies of HTTP/1.1, read strictly: two programs that disagree on where a request ends are how one
 * client's bytes become another's request.
 * Sources: RFC 9112 (HTTP/1.1), sections 2 to 7; RFC 9110 (semantics), sections 5, 6 and 7.6. */
#ifndef PROXY_HTTP1_H
#define PROXY_HTTP1_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* More than common servers' 8,190 bytes and 100 fields is nobody's request. */
enum { HTTP1_HEAD_BYTES_MAX = 8192, HTTP1_HEADERS_MAX = 100 };

struct http1_text {
    const char *at; /* into the bytes that were read */
    size_t size;
};

struct http1_header {
    struct http1_text name, value;
    bool drop; /* not to be passed on: hop-by-hop, or replaced */
};

enum http1_framing { HTTP1_NONE, HTTP1_LENGTH, HTTP1_CHUNKED, HTTP1_UNTIL_CLOSE };

struct http1_head {
    struct http1_text method, target; /* of a request */
    unsigned status;                  /* of a response: 100 to 599 */
    struct http1_text reason;
    unsigned minor; /* HTTP/1.0 or HTTP/1.1 */
    struct http1_header headers[HTTP1_HEADERS_MAX];
    size_t header_count;
    enum http1_framing framing;
    uint64_t length;
    bool keep_alive;
};

/* Size of the head that bytes begin with, its empty line too; 0: it is not all there. *scanned is how far was looked
 * before, 0 at first. */
size_t http1_head_size(const char *bytes, size_t size, size_t *scanned);

/* Reads one whole head. 0, or the status to answer: 400, 431 (too many fields), 501 (CONNECT, a coding that is not
 * chunked), 505. Hop-by-hop fields are marked `drop`, and so is Transfer-Encoding: the framing says it. */
unsigned http1_read_request(struct http1_head *head, const char *bytes, size_t size);
/* The same of an answer to `method`; false: malformed. */
bool http1_read_response(struct http1_head *head, const char *bytes, size_t size, bool to_head);

/* Value of the first field of this name, in lower case; size 0 and at "" when there is none. */
struct http1_text http1_field(const struct http1_head *head, const char *name);
bool http1_is(struct http1_text text, const char *lower); /* without regard to case */

/* Where a body ends. Its bytes pass as they are, chunks and trailers too. */
struct http1_body {
    enum http1_framing framing;
    uint64_t left; /* of the length, or of the chunk */
    uint32_t state, line_bytes;
    bool done, broken;
};
void http1_body_begin(struct http1_body *body, const struct http1_head *head);
/* How many of these bytes are the body's. Less than size: it is done, or broken. */
size_t http1_body_take(struct http1_body *body, const char *bytes, size_t size);
#endif
