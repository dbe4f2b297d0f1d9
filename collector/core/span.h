/* span.h - the fixed-size view of one span. The span itself stays in wire form: the body of an OTLP `Span` message
 * (opentelemetry/proto/trace/v1/trace.proto), inside its batch's bytes. */
#ifndef WEIR_CORE_SPAN_H
#define WEIR_CORE_SPAN_H
#include <stdbool.h>
#include <stdint.h>

/* As in OTLP, Span.SpanKind and Status.StatusCode. */
enum weir_kind {
    WEIR_KIND_UNSPECIFIED,
    WEIR_KIND_INTERNAL,
    WEIR_KIND_SERVER,
    WEIR_KIND_CLIENT,
    WEIR_KIND_PRODUCER,
    WEIR_KIND_CONSUMER
};
enum weir_span_status { WEIR_STATUS_UNSET, WEIR_STATUS_OK, WEIR_STATUS_ERROR };

enum weir_span_flag {
    WEIR_SPAN_ROOT = 1 << 0, /* no parent, or its own parent (Linkerd 1) */
    WEIR_SPAN_FORCED =
        1 << 1,            /* B3 or Finagle debug, x-envoy-force-trace, sampling.priority > 0: kept before any rule */
    WEIR_SPAN_TH = 1 << 2, /* the span came with `ot=th` */
    WEIR_SPAN_RV = 1 << 3, /* the span came with `ot=rv`: it is in `randomness` */
    WEIR_SPAN_PRIOR = 1 << 4,         /* the span came with the attribute weir.prior_weight */
    WEIR_SPAN_TH_CHANGED = 1 << 5,    /* `threshold` was raised here: the bytes' tracestate is stale */
    WEIR_SPAN_PRIOR_CHANGED = 1 << 6, /* `prior` was set here: the bytes lack the attribute */
    WEIR_SPAN_DEBUG = 1 << 7,         /* the source said debug (B3 flags=1): leaves as Zipkin's `debug` */
    WEIR_SPAN_SHARED = 1 << 8,        /* Zipkin: a server span with its client's id; leaves as `shared` */
    WEIR_SPAN_UNCOUNTED = 1 << 9,     /* not for the series: a rule leaves it out, or it was counted before it came */
    WEIR_SPAN_UNWEIGHED = 1 << 10,    /* what it stands for hangs on its trace's root (lane/weigh.c); not past there */
    WEIR_SPAN_BY_POLICY = 1 << 11, /* `prior` is that of the policy that its sender says it follows: its trace's, too */
    WEIR_SPAN_RV_CHANGED = 1 << 12, /* `randomness` was drawn here (weir_trace_drawn): the bytes lack `ot=rv` */
};

#define WEIR_THRESHOLD_MAX (1ull << 56) /* exclusive; T is in [0, 2^56) */

struct weir_span {
    uint64_t trace_hi, trace_lo; /* trace_lo is the trace's identity; B3 and Finagle may cut trace_hi to 0 */
    uint64_t span_id, parent_id; /* parent_id 0 = none */
    uint64_t start_ns;           /* Unix epoch; 0 = unknown */
    uint64_t duration_ns;
    uint64_t threshold;    /* T: kept when R >= T; 0 = everything was kept */
    uint64_t randomness;   /* R, 56 bits */
    double prior;          /* product of 1/p of samplers independent of R; 1 = none */
    uint32_t offset, size; /* of the Span body in the batch's bytes */
    uint32_t service;      /* name ids */
    uint32_t operation;    /* templated: number- and UUID-like path segments are replaced */
    uint32_t peer;         /* who was called, by name or address; WEIR_NAME_NONE when not said */
    uint16_t origin;       /* index into the batch's origins */
    uint16_t http_status;  /* 0 = not said */
    uint16_t flags;
    uint8_t kind, status; /* status is ERROR also where it was UNSET and the HTTP status is 5xx */
    uint8_t receiver;     /* enum weir_receiver_id of ledger.h */
};

/* w = prior x 2^56 / (2^56 - T): how many spans this one stands for. */
static inline double weir_span_weight(const struct weir_span *span) {
    if (span->threshold == 0) return span->prior;
    return span->prior * ((double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - span->threshold));
}
/* R of a trace whose sampler decided by the id itself: what that let through has but a part of all ids, of which R is
 * cut. Source: MurmurHash3's 64-bit finalizer. */
static inline uint64_t weir_trace_drawn(uint64_t trace_lo) {
    trace_lo = (trace_lo ^ trace_lo >> 33) * 0xff51afd7ed558ccdull;
    trace_lo = (trace_lo ^ trace_lo >> 33) * 0xc4ceb9fe1a85ec53ull;
    return (trace_lo ^ trace_lo >> 33) & (WEIR_THRESHOLD_MAX - 1);
}
static inline void weir_span_draw(struct weir_span *span) {
    if ((span->flags & (WEIR_SPAN_TH | WEIR_SPAN_RV)) != 0) return; /* it says its own */
    span->randomness = weir_trace_drawn(span->trace_lo);
    span->flags |= WEIR_SPAN_RV | WEIR_SPAN_RV_CHANGED;
}
/* The lane that a trace belongs to; mixes, since proxies count ids up. */
static inline uint32_t weir_trace_lane(uint64_t trace_lo, uint32_t lanes) {
    uint64_t mixed = (trace_lo ^ trace_lo >> 32) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)((mixed >> 32) * lanes >> 32);
}
#endif
