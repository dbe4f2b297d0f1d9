/* weir_emit.h - libweir_emit: what a proxy, a filter or a service calls to be traced and counted by Weir at the price
 * of nanoseconds. Spans, counters and observations leave as Weir datagrams (docs/datagram.md); what to sample comes
 * back on the same socket (docs/policy.md). How to use it, what it guarantees, how it fails: docs/emitter.md.
 *
 *   caller's threads                                                     the emitter's one thread
 *   begin / sampled ── one load of T, R >= T                             now and then:
 *   request, count, observe ── the thread's own cells ────────────────>   sums, deltas ─┐
 *   span ── the thread's own ring, in wire form ──────────────────────>   datagrams <───┴──> UDP ──> Weir
 *                                                                         every poll_ms: ask <── thresholds
 *
 * The functions of the second half ("hot") take no lock, make no system call, allocate nothing and wake nobody. What
 * finds no room is dropped and counted, and the count travels with the next datagram. A thread's first call of them
 * takes a place that was made ready by weir_emit_open().
 *
 * A C library for gcc and clang; the header also compiles as C++. */
#ifndef WEIR_EMIT_H
#define WEIR_EMIT_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Of the shared object, libweir_emit.so.1: what was compiled against a header of it goes on working with every later
 * library of the same number. Structures that callers fill say their size first, so that they can grow. */
#define WEIR_EMIT_ABI 1

/* Thresholds are OpenTelemetry's, consistent probability sampling: T in 56 bits, keep where R >= T, R the low 56 bits
 * of the trace id or what `rv` in tracestate says. What is kept stands for 2^56 / (2^56 - T). */
#define WEIR_EMIT_NEVER   (UINT64_C(1) << 56) /* T: keep none */
#define WEIR_EMIT_UNKNOWN UINT64_MAX          /* T or R: nothing is said of it */

struct weir_emit;           /* an emitter: one a process, as a rule; up to 8 */
struct weir_emit_counter;   /* handles: live until their emitter is closed */
struct weir_emit_histogram; /* */
struct weir_emit_operation {
    uint64_t threshold; /* T in force: read by one relaxed load; the rest of an operation is the library's own */
};

/* ---- opening, registering, closing: not hot ---- */

struct weir_emit_label {
    const char *name, *value;
};

struct weir_emit_options {
    size_t size;                            /* of this structure, as the caller knows it */
    const char *to;                         /* "127.0.0.1:4319", "[::1]:4319": numeric, nothing is resolved */
    const char *service;                    /* service.name; needed */
    const struct weir_emit_label *resource; /* more attributes of the resource */
    size_t resource_count;
    const void *key;            /* datagrams are signed and answers have to be: 16 to 4,096 bytes; NULL: neither */
    size_t key_size;            /* */
    double initial_rate;        /* until Weir has told one: 0 to 1 */
    uint32_t flush_ms;          /* the longest that anything waits here */
    uint32_t poll_ms;           /* how often Weir is asked what to sample; 0: never */
    uint32_t ring_bytes;        /* of each thread, for its spans; a power of two */
    uint32_t threads_max;       /* that use it at one time; the memory of each is reserved, and used once it calls */
    uint32_t operations_max;    /* */
    uint32_t cells_max;         /* numbers in all: 1 an operation or counter, bounds + 2 a histogram */
    uint32_t datagram_bytes;    /* 1,200 to 65,507; 1,400 passes common networks unfragmented */
    uint32_t text_bytes_max;    /* of an attribute's text; what is longer is cut, at a character's end */
    uint32_t send_buffer_bytes; /* asked of the kernel */
    bool disabled;              /* no thread, no socket, no memory; all calls do nothing, decisions are "no" */
};
/* Fills *options with the defaults; size: sizeof *options. `to` and `service` stay NULL. */
void weir_emit_defaults(struct weir_emit_options *options, size_t size);

/* NULL: it cannot be, and error (may be NULL) says why. A Weir that is not there is no error. */
struct weir_emit *weir_emit_open(const struct weir_emit_options *options, char *error, size_t error_size);
/* Sends what is left and ends the thread, within a second whatever the network does. No call may be under way or follow
 * but those of other emitters. Accepts NULL. */
void weir_emit_close(struct weir_emit *emit);

/* The operation of this name, registered when it is new; never NULL. Where there is no room, or the name is empty or
 * longer than 255 bytes, it is "other". All its requests are counted as emitter_requests_total{service,operation},
 * which `exact:` of sampling.yaml can name. */
struct weir_emit_operation *weir_emit_operation(struct weir_emit *emit, const char *name);
/* A counter of Weir's /metrics: the name as it is to stand there, at most 200 bytes, 8 labels. Names that begin with
 * weir_ are Weir's own. NULL: no room or no such name; NULL may be counted to, which does nothing. */
struct weir_emit_counter *weir_emit_counter(struct weir_emit *emit, const char *name,
                                            const struct weir_emit_label *labels, size_t label_count);
/* A histogram: bounds are upper ones, inclusive, ascending, at most 64. */
struct weir_emit_histogram *weir_emit_histogram(struct weir_emit *emit, const char *name,
                                                const struct weir_emit_label *labels, size_t label_count,
                                                const double *bounds, size_t bound_count);

/* Waits until what was handed over before this call has been sent or dropped, at most so long. False: not yet. */
bool weir_emit_flush(struct weir_emit *emit, uint32_t timeout_ms);

struct weir_emit_stats {
    size_t size;              /* of this structure, as the caller knows it */
    uint64_t policy_version;  /* followed now; 0: none */
    uint64_t spans;           /* taken into rings */
    uint64_t dropped_full;    /* spans: the thread's ring was full */
    uint64_t dropped_large;   /* spans: longer than a datagram can hold */
    uint64_t dropped_threads; /* spans of threads beyond threads_max; their counts are kept, a little slower */
    uint64_t datagrams;       /* handed to the kernel */
    uint64_t unsent;          /* datagrams that it did not take */
    uint64_t asks;            /* of a policy */
    uint64_t answers;         /* that were followed */
    uint64_t answers_refused; /* forged, late, repeated, malformed, too large */
    uint64_t restarts;        /* of the thread, in children of fork */
};
void weir_emit_stats(struct weir_emit *emit, struct weir_emit_stats *stats, size_t size);

uint32_t weir_emit_abi(void); /* WEIR_EMIT_ABI of the library that was loaded */

/* ---- hot: decisions and counts ---- */

/* R of a trace id: its last 7 bytes. */
static inline uint64_t weir_emit_randomness(const uint8_t trace_id[16]) {
    uint64_t low;
    memcpy(&low, trace_id + 8, sizeof low);
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    low = __builtin_bswap64(low);
#endif
    return low & (WEIR_EMIT_NEVER - 1);
}
/* T of the operation, as Weir told it last. */
static inline uint64_t weir_emit_threshold(const struct weir_emit_operation *operation) {
    return __atomic_load_n(&operation->threshold, __ATOMIC_RELAXED);
}
/* Is a trace that begins here, with this id, to be kept? *threshold is the T that it was decided by: for its spans, and
 * to be carried on in tracestate. */
static inline bool weir_emit_sampled(const struct weir_emit_operation *operation, const uint8_t trace_id[16],
                                     uint64_t *threshold) {
    *threshold = weir_emit_threshold(operation);
    return weir_emit_randomness(trace_id) >= *threshold;
}

/* One request of this operation, sampled or not. weir_emit_begin() has counted its own. */
void weir_emit_request(struct weir_emit_operation *operation);
void weir_emit_count(struct weir_emit_counter *counter, uint64_t n);
/* Negative values and those that are not finite make no sense and are dropped, counted. */
void weir_emit_observe(struct weir_emit_histogram *histogram, double value);

/* ---- hot: spans ---- */

enum weir_emit_kind { /* OTLP's SpanKind */
                      WEIR_EMIT_INTERNAL = 1,
                      WEIR_EMIT_SERVER = 2,
                      WEIR_EMIT_CLIENT = 3,
                      WEIR_EMIT_PRODUCER = 4,
                      WEIR_EMIT_CONSUMER = 5
};
enum weir_emit_status { WEIR_EMIT_UNSET = 0, WEIR_EMIT_OK = 1, WEIR_EMIT_ERROR = 2 };
enum weir_emit_type { WEIR_EMIT_TEXT = 1, WEIR_EMIT_BOOL = 2, WEIR_EMIT_INT = 3, WEIR_EMIT_DOUBLE = 4 };

struct weir_emit_attribute {
    const char *key;
    uint32_t key_size;
    uint32_t type; /* enum weir_emit_type */
    union {
        const char *text; /* text_size bytes; need not end in NUL */
        int64_t integer;  /* also of BOOL: 0 or 1 */
        double number;
    } value;
    size_t text_size;
};

struct weir_emit_span {
    size_t size;               /* of this structure, as the caller knows it */
    const uint8_t *trace_id;   /* 16 bytes, not all 0 */
    const uint8_t *span_id;    /* 8 bytes, not all 0 */
    const uint8_t *parent_id;  /* 8 bytes; NULL or all 0: a root */
    const char *name;          /* NULL: the operation's */
    size_t name_size;          /* */
    uint64_t start_ns, end_ns; /* Unix time: weir_emit_now(), or the caller's own clock */
    uint64_t threshold;        /* T that its trace was kept by; WEIR_EMIT_UNKNOWN: nobody said */
    uint64_t randomness;       /* `rv` that came with the trace; WEIR_EMIT_UNKNOWN: R is the trace id's */
    uint32_t kind;             /* enum weir_emit_kind */
    uint32_t status;           /* enum weir_emit_status */
    const struct weir_emit_attribute *attributes; /* the first 64 are taken */
    size_t attribute_count;
    bool forced; /* it was not drawn: somebody wanted this trace (B3 debug) */
};
/* Copies a finished span into the thread's ring, under the operation. False: dropped, and counted; or disabled. */
bool weir_emit_span(struct weir_emit_operation *operation, const struct weir_emit_span *span);

/* ---- hot: time and ids ---- */

uint64_t weir_emit_now(void); /* Unix time in ns; by the vDSO, where there is one */
/* Random bytes for ids, of a generator of the thread's own: hard to meet twice, not secret. */
void weir_emit_random(struct weir_emit *emit, void *bytes, size_t size);

/* ---- hot: what travels with a request ----
 *
 *   struct weir_emit_context context;
 *   weir_emit_context_clear(&context);
 *   for each header: weir_emit_read_header(&context, name, name_size, value, value_size);
 *   bool sampled = weir_emit_begin(operation, &context);
 *   ... upstream gets weir_emit_write_traceparent(), weir_emit_write_tracestate() or weir_emit_write_b3() ...
 *   if (sampled) { fill a span from context (weir_emit_span_of()) and hand it over }
 *
 * Sources: W3C Trace Context, 3.2 and 3.3; OpenTelemetry "TraceState: Probability Sampling" (ot=th, rv);
 * openzipkin/b3-propagation. */
enum weir_emit_context_flags {
    WEIR_EMIT_HAS_TRACE = 1,  /* trace_id came with the request */
    WEIR_EMIT_HAS_PARENT = 2, /* and parent_id */
    WEIR_EMIT_DECIDED = 4,    /* the sender decided: SAMPLED says how */
    WEIR_EMIT_SAMPLED = 8,    /* */
    WEIR_EMIT_FORCED = 16     /* B3 debug: kept, whatever the rates are */
};
struct weir_emit_context {
    uint8_t trace_id[16];
    uint8_t parent_id[8]; /* the span that the request came from */
    uint8_t span_id[8];   /* the one that begins here, drawn by weir_emit_begin() */
    uint64_t threshold;   /* T that the trace was decided by, here or before; WEIR_EMIT_UNKNOWN: nobody said */
    uint64_t randomness;  /* `rv`; WEIR_EMIT_UNKNOWN: R is the trace id's */
    uint32_t flags;       /* enum weir_emit_context_flags */
    uint32_t format;      /* the library's own: which headers were read */
    const char *state;    /* tracestate as it came: the caller's bytes, which have to stay while the context is used */
    uint32_t state_size;  /* */
    uint32_t reserved[5]; /* */
};
static inline void weir_emit_context_clear(struct weir_emit_context *context) {
    /* Piece by piece: one memset of all of it becomes a string instruction, which costs more than the rest of a call.
     */
    memset(context->trace_id, 0, sizeof context->trace_id);
    memset(context->parent_id, 0, sizeof context->parent_id);
    memset(context->span_id, 0, sizeof context->span_id);
    context->threshold = context->randomness = WEIR_EMIT_UNKNOWN;
    context->flags = context->format = 0;
    context->state = NULL;
    context->state_size = 0;
    memset(context->reserved, 0, sizeof context->reserved);
}

enum weir_emit_header { /* what a header turned out to be */
                        WEIR_EMIT_OTHER_HEADER = 0,
                        WEIR_EMIT_TRACE_HEADER = 1, /* of tracing, and read: to be replaced in what goes upstream */
                        WEIR_EMIT_BROKEN_HEADER =
                            2, /* of tracing, and malformed: as if it had not come; not to be passed on either */
};
/* False: it is no header of tracing. Most are told apart without a call, by length and first letter. */
static inline bool weir_emit_may_read(const char *name, size_t name_size) {
    const uint32_t sizes = 1U << 2 | 1U << 10 | 1U << 11 | 1U << 12 | 1U << 17; /* of b3 to X-B3-ParentSpanId */
    if (name_size > 17 || (sizes >> name_size & 1) == 0) return false;
    const char first = (char)(name[0] | 0x20);
    return first == 't' || first == 'b' || first == 'x';
}
/* One header of a request, in any order. traceparent and tracestate, b3, X-B3-TraceId, -SpanId, -ParentSpanId,
 * -Sampled, -Flags; names without regard to case. Where several formats came, traceparent counts, then b3, then X-B3.
 */
enum weir_emit_header weir_emit_read_header(struct weir_emit_context *context, const char *name, size_t name_size,
                                            const char *value, size_t value_size);
/* The same, one format each; for servers that look headers up by name. False: malformed, the context is as before; or a
 * second traceparent, after which a trace begins here. */
bool weir_emit_read_traceparent(struct weir_emit_context *context, const char *value, size_t size);
bool weir_emit_read_tracestate(struct weir_emit_context *context, const char *value, size_t size);
bool weir_emit_read_b3(struct weir_emit_context *context, const char *value, size_t size);

/* A request of this operation begins: counts it, goes on with the trace that came or begins one, keeps to the decision
 * that came or takes one (R >= T), draws span_id. Returns whether the request is traced. */
bool weir_emit_begin(struct weir_emit_operation *operation, struct weir_emit_context *context);
/* A context for a span below `parent`: a call to upstream that is a span of its own. */
void weir_emit_child(struct weir_emit *emit, const struct weir_emit_context *parent, struct weir_emit_context *child);
/* The parts of a span that its context knows; all others are 0. *span points into *context. */
static inline void weir_emit_span_of(const struct weir_emit_context *context, struct weir_emit_span *span) {
    span->size = sizeof *span;
    span->trace_id = context->trace_id;
    span->span_id = context->span_id;
    span->parent_id = (context->flags & WEIR_EMIT_HAS_PARENT) != 0 ? context->parent_id : NULL;
    span->name = NULL;
    span->name_size = 0;
    span->start_ns = span->end_ns = 0;
    span->kind = span->status = 0;
    span->attributes = NULL;
    span->attribute_count = 0;
    span->threshold = context->threshold;
    span->randomness = context->randomness;
    span->forced = (context->flags & WEIR_EMIT_FORCED) != 0;
}

/* Header values for upstream, without NUL; each returns the bytes written. */
enum { WEIR_EMIT_TRACEPARENT_BYTES = 55, WEIR_EMIT_TRACESTATE_BYTES = 1024, WEIR_EMIT_B3_BYTES = 68 };
size_t weir_emit_write_traceparent(const struct weir_emit_context *context, char out[WEIR_EMIT_TRACEPARENT_BYTES]);
/* `ot` with th and rv in front, then the members of others that came, as many as find room (32, as the specification
 * says). 0: there is nothing to say, and no header is to be sent. */
size_t weir_emit_write_tracestate(const struct weir_emit_context *context, char out[WEIR_EMIT_TRACESTATE_BYTES]);
size_t weir_emit_write_b3(const struct weir_emit_context *context,
                          char out[WEIR_EMIT_B3_BYTES]); /* the single header */
/* The X-B3 headers: ids in hex, and "1", "0" for X-B3-Sampled or, when forced, "1" for X-B3-Flags instead. */
struct weir_emit_b3 {
    char trace_id[32], span_id[16], parent_id[16];
    bool has_parent, forced;
    char sampled; /* '1' or '0' */
};
void weir_emit_write_b3_multi(const struct weir_emit_context *context, struct weir_emit_b3 *out);

/* ---- attributes, in one line each ---- */

static inline struct weir_emit_attribute weir_emit_text_n(const char *key, const char *text, size_t size) {
    struct weir_emit_attribute attribute;
    attribute.key = key;
    attribute.key_size = (uint32_t)strlen(key); /* of a literal: known when it is compiled */
    attribute.type = WEIR_EMIT_TEXT;
    attribute.value.text = text;
    attribute.text_size = size;
    return attribute;
}
static inline struct weir_emit_attribute weir_emit_text(const char *key, const char *text) {
    return weir_emit_text_n(key, text, strlen(text));
}
static inline struct weir_emit_attribute weir_emit_int(const char *key, int64_t value) {
    struct weir_emit_attribute attribute = weir_emit_text_n(key, NULL, 0);
    attribute.type = WEIR_EMIT_INT;
    attribute.value.integer = value;
    return attribute;
}
static inline struct weir_emit_attribute weir_emit_bool(const char *key, bool value) {
    struct weir_emit_attribute attribute = weir_emit_int(key, value);
    attribute.type = WEIR_EMIT_BOOL;
    return attribute;
}
static inline struct weir_emit_attribute weir_emit_double(const char *key, double value) {
    struct weir_emit_attribute attribute = weir_emit_text_n(key, NULL, 0);
    attribute.type = WEIR_EMIT_DOUBLE;
    attribute.value.number = value;
    return attribute;
}

#ifdef __cplusplus
}
#endif
#endif
