/* otlp_restate.h - a span whose sampling changed here, said in its own bytes: tracestate with the new `ot=th` and
 * `ot=rv`, and the attribute weir.prior_weight. Every exporter then writes what stands there, and the next Weir reads
 * it back. */
#ifndef WEIR_DECODE_OTLP_RESTATE_H
#define WEIR_DECODE_OTLP_RESTATE_H
#include "collector/core/batch.h"
#include "collector/core/buffer.h"

enum { WEIR_SPAN_CHANGED = WEIR_SPAN_TH_CHANGED | WEIR_SPAN_PRIOR_CHANGED | WEIR_SPAN_RV_CHANGED };

/* What the root of a kept trace says: attributes weir.rule (text) and weir.weight (double). Those of a Weir before this
 * one are replaced. */
struct weir_otlp_mark {
    const char *rule;
    size_t rule_size; /* at most WEIR_OTLP_RULE_BYTES_MAX */
    double weight;
};
enum { WEIR_OTLP_RULE_BYTES_MAX = 256 };

/* As weir_batch_copy(), with the view's threshold, randomness and prior written into the bytes where their flags say
 * that they changed; the flags of the copy say so no more. mark: NULL = none. WEIR_FULL: no room. */
enum weir_status weir_otlp_restate(struct weir_batch *to, const struct weir_batch *from, uint32_t i,
                                   const struct weir_otlp_mark *mark);

/* Appends the tracestate `old` with `ot=th` as given (in (0, 2^56)) and `ot=rv`; where one is WEIR_THRESHOLD_MAX, as it
 * was. Other members and sub-keys stay, `ot` moves to the front. Sources: OpenTelemetry specification,
 * trace/tracestate-handling.md and trace/tracestate-probability-sampling.md (th: 56 bits in hex, trailing zeros left
 * out); W3C Trace Context 3.3.1.3 (a changed member goes first). */
void weir_otlp_tracestate(struct weir_buffer *out, const uint8_t *old, size_t old_size, uint64_t threshold,
                          uint64_t randomness);
#endif
