/* zipkin_v1.h - a span of Zipkin's first format, as JSON and thrift have it, into the one or two that it is in the
 * second. Source of the rules: openzipkin/zipkin, zipkin2.v1.V1SpanConverter. */
#ifndef WEIR_DECODE_ZIPKIN_V1_H
#define WEIR_DECODE_ZIPKIN_V1_H
#include "collector/decode/zipkin_inside.h"

enum { ZIPKIN_V1_ITEMS_MAX = 4096 }; /* annotations, and as many binary ones, of one span */

struct zipkin_v1_annotation {
    uint64_t timestamp_us;
    struct zipkin_text value;
    struct zipkin_endpoint endpoint;
    bool has_endpoint;
    uint8_t owner; /* zipkin_v1_convert()'s: the span that it goes to */
};
enum zipkin_v1_type { ZIPKIN_V1_TEXT, ZIPKIN_V1_BOOL, ZIPKIN_V1_INT, ZIPKIN_V1_DOUBLE, ZIPKIN_V1_BYTES };
struct zipkin_v1_binary {
    struct zipkin_text key, value; /* value: of TEXT and BYTES */
    enum zipkin_v1_type type;
    int64_t number; /* BOOL, INT */
    double real;
    struct zipkin_endpoint endpoint;
    bool has_endpoint;
    uint8_t owner;
};

struct zipkin_v1 {
    uint64_t trace_hi, trace_lo, id, parent, timestamp_us, duration_us;
    struct zipkin_text name;
    bool debug;
    struct zipkin_v1_annotation *annotations;
    struct zipkin_v1_binary *binary;
    uint32_t annotation_count, binary_count, annotation_capacity, binary_capacity;
};

bool zipkin_v1_endpoint_is_empty(const struct zipkin_endpoint *endpoint);
/* Emptied, for the next span. */
void zipkin_v1_clear(struct zipkin_v1 *span);
/* A zeroed item at the end; NULL: there are ZIPKIN_V1_ITEMS_MAX, or no memory. */
struct zipkin_v1_annotation *zipkin_v1_annotate(struct zipkin_v1 *span);
struct zipkin_v1_binary *zipkin_v1_add_binary(struct zipkin_v1 *span);
/* Writes the spans that it becomes. WEIR_FULL: no room. */
enum weir_status zipkin_v1_convert(struct weir_zipkin_decoder *decoder, struct zipkin_v1 *span, struct weir_error *err);
#endif
