/* zipkin_inside.h - what Zipkin's formats share: the decoder's memory, and how a span of Zipkin's is written as OTLP.
 *
 * What OTLP has no field for is written so that exporters/zipkin turns it back (docs/zipkin.md):
 *   zipkin.debug, zipkin.shared    true, where the span says so
 *   scope name weir.zipkin         of every such span; its attributes are tags, whatever their names are elsewhere
 *   zipkin.local                   true; the keys network.local.* behind it are the local endpoint
 *   zipkin.remote                  true; the keys peer.service and network.peer.* behind it are the remote endpoint
 *   zipkin.duration                microseconds, where there is no timestamp that an end could be counted from */
#ifndef WEIR_DECODE_ZIPKIN_INSIDE_H
#define WEIR_DECODE_ZIPKIN_INSIDE_H
#include "collector/core/buffer.h"
#include "collector/decode/span_writer.h"
#include "collector/decode/zipkin.h"

struct zipkin_text {
    const uint8_t *bytes;
    size_t size;
};
struct zipkin_endpoint {
    struct zipkin_text service;
    bool escaped; /* service stands as in JSON, backslashes and all */
    uint8_t ipv4[4], ipv6[16];
    bool has_ipv4, has_ipv6;
    uint16_t port; /* 0 = unknown */
};
/* All of a span but its name, tags and annotations, which are written as they come. */
struct zipkin_head {
    uint64_t trace_hi, trace_lo, id, parent;
    enum weir_kind kind;
    uint64_t timestamp_us, duration_us; /* 0 = unknown */
    struct zipkin_endpoint local, remote;
    bool debug, shared;
    bool ended;  /* also where the duration is 0: begun and ended in the same microsecond */
    bool failed; /* it has the tag `error`, which Zipkin takes for a failure */
};

enum { ZIPKIN_SERVICES = 8, ZIPKIN_SERVICE_BYTES = 64 };

struct zipkin_v1;
struct weir_zipkin_decoder {
    struct weir_otlp *otlp;
    struct zipkin_v1 *v1;     /* zipkin_v1.c's memory */
    struct weir_buffer plain; /* unescaped text, until it is written */
    /* of one call */
    struct weir_batch *batch;
    struct weir_otlp_counts *counts;
    uint8_t receiver;
    size_t plain_drawn; /* from the batch's budget */
    uint32_t index;     /* of the span in its list */
    struct {
        uint8_t bytes[ZIPKIN_SERVICE_BYTES];
        uint32_t size;
        uint16_t origin;
    } services[ZIPKIN_SERVICES]; /* the last ones that were looked up */
    uint32_t service_count, service_next;
};

/* Room for so many bytes of plain text, drawn from the batch's budget. NULL: no room. */
uint8_t *zipkin_plain(struct weir_zipkin_decoder *decoder, size_t size);

/* Microseconds that nanoseconds of 64 bits can hold, as far as the year 2554. */
#define ZIPKIN_MICROS_MAX (UINT64_MAX / 1000)

/* Sets head->failed, too. */
void zipkin_put_tag(struct weir_span_writer *writer, struct zipkin_head *head, struct zipkin_text key,
                    struct zipkin_text value);
void zipkin_put_annotation(struct weir_span_writer *writer, uint64_t timestamp_us, struct zipkin_text value);
/* The head, and the end: the span is in the batch, or skipped and counted (a zero id), or there is no room (WEIR_FULL).
 */
enum weir_status zipkin_put(struct weir_zipkin_decoder *decoder, struct weir_span_writer *writer,
                            const struct zipkin_head *head, struct weir_error *err);
/* The span that was begun is passed over and counted. */
enum weir_status zipkin_skip(struct weir_zipkin_decoder *decoder, struct weir_span_writer *writer, const char *why);
/* Hex digits, 1 to `max` of them (16 or 32), of either case, padded from the left. False: not such digits. */
bool zipkin_hex(const uint8_t *text, size_t size, unsigned max, uint64_t *high, uint64_t *low);
/* 16 bytes; an IPv4 address mapped into IPv6 is one of IPv4, as Zipkin has it (Endpoint.Builder.parseIp). */
void zipkin_ipv6(struct zipkin_endpoint *endpoint, const uint8_t ip[16]);
/* An address as text into the endpoint; what does not read is left out, as Zipkin does. */
void zipkin_address(struct zipkin_endpoint *endpoint, const uint8_t *text, size_t size);

enum weir_status zipkin_decode_json_v2(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                       struct weir_error *err);
enum weir_status zipkin_decode_json_v1(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                       struct weir_error *err);
enum weir_status zipkin_decode_proto3(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                      struct weir_error *err);
enum weir_status zipkin_decode_thrift(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                      struct weir_error *err);
/* One struct; *used: what it took. */
enum weir_status zipkin_decode_thrift_span(struct weir_zipkin_decoder *decoder, const uint8_t *bytes, size_t size,
                                           size_t *used, struct weir_error *err);
#endif
