/* http1.c - pure: no sockets, no memory of its own. */
#define _GNU_SOURCE /* memmem, memrchr */
#include "examples/proxy/http1.h"

#include <string.h>
#include <strings.h>

enum { LENGTH_DIGITS_MAX = 18, CHUNK_DIGITS_MAX = 15, CHUNK_LINE_MAX = 1024, TRAILER_BYTES_MAX = 8192 };

/* RFC 9110, 5.6.2: token. */
static bool is_token(unsigned char c) {
    static const char others[] = "!#$%&'*+-.^_`|~";
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z') || (c != 0 && strchr(others, c) != NULL);
}

static bool is_text(unsigned char c) { /* of field values: no control character but the tab */
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

bool http1_is(struct http1_text text, const char *lower) {
    return strlen(lower) == text.size && strncasecmp(text.at, lower, text.size) == 0;
}

struct http1_text http1_field(const struct http1_head *head, const char *name) {
    for (size_t i = 0; i < head->header_count; i++)
        if (http1_is(head->headers[i].name, name)) return head->headers[i].value;
    return (struct http1_text){"", 0};
}

size_t http1_head_size(const char *bytes, size_t size, size_t *scanned) {
    size_t from = *scanned > 3 ? *scanned - 3 : 0;
    const char *end = size > from ? memmem(bytes + from, size - from, "\r\n\r\n", 4) : NULL;
    *scanned = size;
    return end != NULL ? (size_t)(end - bytes) + 4 : 0;
}

/* ---- lines ---- */

/* The line without its CRLF, and what follows it; false: there is none, or a CR or LF stands alone in it. */
static bool take_line(struct http1_text *rest, struct http1_text *line) {
    const char *end = memchr(rest->at, '\n', rest->size);
    if (end == NULL || end == rest->at || end[-1] != '\r') return false;
    *line = (struct http1_text){rest->at, (size_t)(end - 1 - rest->at)};
    rest->size -= line->size + 2;
    rest->at = end + 1;
    return memchr(line->at, '\r', line->size) == NULL;
}

/* name ":" OWS value OWS */
static bool read_header(struct http1_text line, struct http1_header *header) {
    size_t name = 0;
    while (name < line.size && is_token((unsigned char)line.at[name]))
        name++;
    if (name == 0 || name == line.size || line.at[name] != ':') return false;
    size_t from = name + 1, to = line.size;
    while (from < to && (line.at[from] == ' ' || line.at[from] == '\t'))
        from++;
    while (to > from && (line.at[to - 1] == ' ' || line.at[to - 1] == '\t'))
        to--;
    for (size_t i = from; i < to; i++)
        if (!is_text((unsigned char)line.at[i])) return false;
    *header = (struct http1_header){.name = {line.at, name}, .value = {line.at + from, to - from}};
    return true;
}

/* 0, or the status to answer. */
static unsigned read_headers(struct http1_head *head, struct http1_text rest) {
    struct http1_text line;
    for (;;) {
        if (!take_line(&rest, &line)) return 400;
        if (line.size == 0) return rest.size == 0 ? 0 : 400;
        if (head->header_count == HTTP1_HEADERS_MAX) return 431;
        if (!read_header(line, &head->headers[head->header_count])) return 400;
        head->header_count++;
    }
}

/* ---- fields that say how it is framed and connected ---- */

/* The next member of a list: RFC 9110, 5.6.1. */
static bool next_member(struct http1_text *list, struct http1_text *member) {
    while (list->size > 0 && strchr(", \t", *list->at) != NULL) {
        list->at++;
        list->size--;
    }
    const char *comma = memchr(list->at, ',', list->size);
    size_t size = comma != NULL ? (size_t)(comma - list->at) : list->size;
    *member = (struct http1_text){list->at, size};
    list->at += size;
    list->size -= size;
    while (member->size > 0 && strchr(" \t", member->at[member->size - 1]) != NULL)
        member->size--;
    return member->size > 0;
}

/* Fields that Connection names go no further; but nobody may take away what a request is addressed and framed by. */
static void drop_named(struct http1_head *head, struct http1_text name) {
    if (http1_is(name, "host") || http1_is(name, "content-length")) return;
    for (size_t i = 0; i < head->header_count; i++) {
        struct http1_text other = head->headers[i].name;
        if (other.size == name.size && strncasecmp(other.at, name.at, name.size) == 0) head->headers[i].drop = true;
    }
}

static void read_connection(struct http1_head *head, struct http1_text value) {
    struct http1_text member;
    while (next_member(&value, &member)) {
        if (http1_is(member, "close"))
            head->keep_alive = false;
        else if (http1_is(member, "keep-alive"))
            head->keep_alive = head->keep_alive || head->minor == 0;
        else
            drop_named(head, member);
    }
}

static bool read_length(struct http1_text value, uint64_t *length) {
    if (value.size == 0 || value.size > LENGTH_DIGITS_MAX) return false;
    *length = 0;
    for (size_t i = 0; i < value.size; i++) {
        if (value.at[i] < '0' || value.at[i] > '9') return false;
        *length = *length * 10 + (uint64_t)(value.at[i] - '0');
    }
    return true;
}

/* RFC 9112, 6. Where both Transfer-Encoding and Content-Length came, or one of them twice, nobody knows what was meant.
 */
static unsigned read_framing(struct http1_head *head) {
    static const char *const hops[] = {"keep-alive", "proxy-connection", "te", "upgrade"}; /* RFC 9110, 7.6.1 */
    unsigned lengths = 0, codings = 0;
    head->keep_alive = head->minor == 1;
    for (size_t i = 0; i < head->header_count; i++) {
        struct http1_header *header = &head->headers[i];
        for (size_t hop = 0; hop < sizeof hops / sizeof *hops; hop++)
            header->drop = header->drop || http1_is(header->name, hops[hop]);
        if (http1_is(header->name, "connection")) {
            header->drop = true;
            read_connection(head, header->value);
        } else if (http1_is(header->name, "content-length")) {
            if (lengths++ > 0 || !read_length(header->value, &head->length)) return 400;
            head->framing = HTTP1_LENGTH;
        } else if (http1_is(header->name, "transfer-encoding")) {
            header->drop = true;
            if (codings++ > 0 || head->minor == 0) return 400;
            if (!http1_is(header->value, "chunked")) return 501;
            head->framing = HTTP1_CHUNKED;
        }
    }
    return lengths > 0 && codings > 0 ? 400 : 0;
}

/* ---- heads ---- */

static bool read_version(struct http1_text version, unsigned *minor) {
    if (version.size != 8 || memcmp(version.at, "HTTP/1.", 7) != 0) return false;
    *minor = (unsigned)(version.at[7] - '0');
    return *minor <= 1;
}

/* method SP target SP HTTP/1.x */
static unsigned read_request_line(struct http1_head *head, struct http1_text line) {
    const char *space = memchr(line.at, ' ', line.size);
    const char *last = memrchr(line.at, ' ', line.size);
    if (space == NULL || last == space) return 400;
    const char *end = line.at + line.size;
    head->method = (struct http1_text){line.at, (size_t)(space - line.at)};
    head->target = (struct http1_text){space + 1, (size_t)(last - space - 1)};
    if (head->method.size == 0 || head->target.size == 0) return 400;
    for (size_t i = 0; i < head->method.size; i++)
        if (!is_token((unsigned char)head->method.at[i])) return 400;
    for (size_t i = 0; i < head->target.size; i++)
        if ((unsigned char)head->target.at[i] <= 0x20 || (unsigned char)head->target.at[i] == 0x7f) return 400;
    if (!read_version((struct http1_text){last + 1, (size_t)(end - last - 1)}, &head->minor)) return 505;
    return 0;
}

unsigned http1_read_request(struct http1_head *head, const char *bytes, size_t size) {
    struct http1_text rest = {bytes, size}, line;
    head->header_count = 0;
    head->framing = HTTP1_NONE;
    head->length = 0;
    head->status = 0;
    head->reason = (struct http1_text){"", 0};
    if (!take_line(&rest, &line)) return 400;
    unsigned status = read_request_line(head, line);
    if (status == 0) status = read_headers(head, rest);
    if (status == 0) status = read_framing(head);
    if (status != 0) return status;
    unsigned hosts = 0;
    for (size_t i = 0; i < head->header_count; i++)
        hosts += http1_is(head->headers[i].name, "host");
    if (hosts > 1 || (hosts == 0 && head->minor == 1)) return 400; /* RFC 9112, 3.2 */
    return http1_is(head->method, "connect") ? 501 : 0;
}

/* HTTP/1.x SP 3DIGIT [SP reason] */
static bool read_status_line(struct http1_head *head, struct http1_text line) {
    if (line.size < 12 || line.at[8] != ' ' || !read_version((struct http1_text){line.at, 8}, &head->minor))
        return false;
    head->status = 0;
    for (size_t i = 9; i < 12; i++) {
        if (line.at[i] < '0' || line.at[i] > '9') return false;
        head->status = head->status * 10 + (unsigned)(line.at[i] - '0');
    }
    if (head->status < 100 || head->status > 599 || (line.size > 12 && line.at[12] != ' ')) return false;
    head->reason = line.size > 13 ? (struct http1_text){line.at + 13, line.size - 13} : (struct http1_text){"", 0};
    for (size_t i = 0; i < head->reason.size; i++)
        if (!is_text((unsigned char)head->reason.at[i])) return false;
    return true;
}

bool http1_read_response(struct http1_head *head, const char *bytes, size_t size, bool to_head) {
    struct http1_text rest = {bytes, size}, line;
    head->header_count = 0;
    head->framing = HTTP1_UNTIL_CLOSE;
    head->length = 0;
    head->method = head->target = (struct http1_text){"", 0};
    if (!take_line(&rest, &line) || !read_status_line(head, line)) return false;
    if (read_headers(head, rest) != 0 || read_framing(head) != 0) return false;
    bool bodiless = to_head || head->status < 200 || head->status == 204 || head->status == 304; /* RFC 9112, 6.3 */
    if (bodiless) head->framing = HTTP1_NONE;
    if (head->framing == HTTP1_UNTIL_CLOSE) head->keep_alive = false;
    return true;
}

/* ---- bodies ---- */

/* RFC 9112, 7.1:  1a;name=value CRLF  26 bytes CRLF  0 CRLF  trailer: text CRLF  CRLF */
enum chunked { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_TEXT, TRAILER_LF, END_LF };

void http1_body_begin(struct http1_body *body, const struct http1_head *head) {
    *body = (struct http1_body){.framing = head->framing, .left = head->framing == HTTP1_LENGTH ? head->length : 0};
    body->done = head->framing == HTTP1_NONE || (head->framing == HTTP1_LENGTH && head->length == 0);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The line of a chunk's size: false, it is none. */
static bool take_size(struct http1_body *body, char c) {
    int digit = hex_digit(c);
    if (digit >= 0) {
        body->left = body->left * 16 + (uint64_t)digit;
        return ++body->line_bytes <= CHUNK_DIGITS_MAX;
    }
    if (body->line_bytes == 0) return false;
    body->state = c == '\r' ? SIZE_LF : EXTENSION;
    return c == '\r' || c == ';' || c == ' ' || c == '\t';
}

/* One byte that is not a chunk's data; false: broken. */
static bool take_byte(struct http1_body *body, char c) {
    switch ((enum chunked)body->state) {
    case SIZE: return take_size(body, c);
    case EXTENSION:
        if (c == '\r') body->state = SIZE_LF;
        return (c == '\r' || is_text((unsigned char)c)) && ++body->line_bytes <= CHUNK_LINE_MAX;
    case SIZE_LF:
        body->state = body->left > 0 ? DATA : TRAILER;
        body->line_bytes = 0;
        return c == '\n';
    case DATA_CR: body->state = DATA_LF; return c == '\r';
    case DATA_LF: body->state = SIZE; return c == '\n';
    case TRAILER:
        body->state = c == '\r' ? END_LF : TRAILER_TEXT;
        return (c == '\r' || is_token((unsigned char)c)) && ++body->line_bytes <= TRAILER_BYTES_MAX;
    case TRAILER_TEXT:
        if (c == '\r') body->state = TRAILER_LF;
        return (c == '\r' || is_text((unsigned char)c)) && ++body->line_bytes <= TRAILER_BYTES_MAX;
    case TRAILER_LF: body->state = TRAILER; return c == '\n';
    case END_LF: body->done = c == '\n'; return body->done;
    case DATA: break;
    }
    return false;
}

static size_t take_chunked(struct http1_body *body, const char *bytes, size_t size) {
    size_t at = 0;
    while (at < size && !body->done) {
        if (body->state != DATA) {
            if (!take_byte(body, bytes[at])) {
                body->broken = true;
                return at;
            }
            at++;
            continue;
        }
        size_t part = size - at < body->left ? size - at : (size_t)body->left;
        body->left -= part;
        at += part;
        if (body->left == 0) body->state = DATA_CR;
    }
    return at;
}

size_t http1_body_take(struct http1_body *body, const char *bytes, size_t size) {
    if (body->done || body->broken) return 0;
    if (body->framing == HTTP1_CHUNKED) return take_chunked(body, bytes, size);
    if (body->framing == HTTP1_UNTIL_CLOSE) return size;
    size_t part = size < body->left ? size : (size_t)body->left;
    body->left -= part;
    body->done = body->left == 0;
    return part;
}
