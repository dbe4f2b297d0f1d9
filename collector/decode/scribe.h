/* scribe.h - one framed call of Scribe, as Finagle and so Linkerd 1 send their spans.
 * Sources: scribe.thrift (Log, LogEntry, ResultCode); thrift-binary-protocol.md; Finagle's finagle-thrift
 * ThriftClientPreparer (the call that asks whether we speak TTwitter); zipkin-api thrift/zipkinCore.thrift. */
#ifndef WEIR_DECODE_SCRIBE_H
#define WEIR_DECODE_SCRIBE_H
#include "collector/core/buffer.h"
#include "collector/decode/zipkin.h"

enum weir_scribe_result { WEIR_SCRIBE_OK = 0, WEIR_SCRIBE_TRY_LATER = 1 };
/* TApplicationException's types. */
enum weir_scribe_exception { WEIR_SCRIBE_UNKNOWN_METHOD = 1, WEIR_SCRIBE_PROTOCOL_ERROR = 7 };

enum { WEIR_SCRIBE_NAME_MAX = 64 };
struct weir_scribe_call {
    char name[WEIR_SCRIBE_NAME_MAX + 1]; /* cut, and without what is no printable ASCII */
    int32_t sequence;
    bool is_log, oneway;
    uint64_t entries, other; /* of Log; those of another category than zipkin */
};

struct weir_scribe; /* what one lane keeps between calls; one thread */
struct weir_scribe *weir_scribe_new(struct weir_otlp *otlp);
void weir_scribe_free(struct weir_scribe *scribe);

/* The head of a call: also of a frame of which only the first bytes are there. False: it is none. */
bool weir_scribe_head(const uint8_t *bytes, size_t size, struct weir_scribe_call *call);
/* A whole frame (without its length). Log's spans are appended to the batch; entries that do not read are counted as
 * skipped, their neighbours are kept.
 *   WEIR_OK           a Log call
 *   WEIR_UNSUPPORTED  another method: to be answered by an exception
 *   WEIR_INVALID      no call, or a Log that is broken as thrift; nothing appended; err->text names the byte
 *   WEIR_FULL         no room, nothing appended */
enum weir_status weir_scribe_decode(struct weir_scribe *scribe, const uint8_t *bytes, size_t size, uint8_t receiver,
                                    struct weir_batch *batch, struct weir_scribe_call *call,
                                    struct weir_otlp_counts *counts, struct weir_error *err);

/* Answers, framed. */
void weir_scribe_answer(struct weir_buffer *out, const struct weir_scribe_call *call, enum weir_scribe_result result);
void weir_scribe_refuse(struct weir_buffer *out, const struct weir_scribe_call *call,
                        enum weir_scribe_exception exception, const char *text);

/* Base64 of either alphabet; white space and what stands behind the padding are passed over. `out` has room for
 * size / 4 * 3 + 3. Returns how many bytes, or SIZE_MAX: another character, or a group of one. */
size_t weir_base64_decode(const uint8_t *text, size_t size, uint8_t *out);
#endif
