/* otlp_answer.h - what OTLP's receivers say, in protobuf and in JSON.
 * Source: opentelemetry-proto docs/specification.md, "Partial Success", "Failures". */
#ifndef WEIR_RECEIVE_OTLP_ANSWER_H
#define WEIR_RECEIVE_OTLP_ANSWER_H
#include <stddef.h>
#include <stdint.h>

enum weir_otlp_signal { WEIR_OTLP_TRACES, WEIR_OTLP_METRICS };
/* Texts are cut to WEIR_OTLP_ANSWER_TEXT bytes; in JSON a byte may become six. */
enum { WEIR_OTLP_ANSWER_TEXT = 255, WEIR_OTLP_ANSWER_BYTES = 128 + 6 * WEIR_OTLP_ANSWER_TEXT };

/* Export{Trace,Metrics}ServiceResponse{1 partial_success{1 rejected_spans, rejected_data_points; 2 error_message}};
 * without `rejected` the empty message. Returns its size. */
size_t weir_otlp_answer_partial(uint64_t rejected, const char *reason, uint8_t out[WEIR_OTLP_ANSWER_BYTES]);
size_t weir_otlp_answer_partial_json(enum weir_otlp_signal signal, uint64_t rejected, const char *reason,
                                     uint8_t out[WEIR_OTLP_ANSWER_BYTES]);
/* google.rpc.Status{1 code, 2 message} */
size_t weir_otlp_answer_status(unsigned code, const char *message, uint8_t out[WEIR_OTLP_ANSWER_BYTES]);
size_t weir_otlp_answer_status_json(unsigned code, const char *message, uint8_t out[WEIR_OTLP_ANSWER_BYTES]);
#endif
