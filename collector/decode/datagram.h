/* datagram.h - the Weir datagram: schemas/weir/v1/datagram.proto, one message a datagram.
 *
 * Reading goes in steps, since what a datagram may do hangs on who sent it: weir_datagram_read() looks at the whole
 * outline and says what is in it; spans and points are taken from it when the receiver has found it genuine and new.
 * Nothing is copied but the spans' bytes. */
#ifndef WEIR_DECODE_DATAGRAM_H
#define WEIR_DECODE_DATAGRAM_H
#include "collector/core/point.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"

enum { WEIR_DATAGRAM_VERSION = 1, WEIR_DATAGRAM_HMAC_BYTES = 16, WEIR_DATAGRAM_SENDER_BYTES = 17 };

struct weir_datagram {
    const uint8_t *bytes;
    size_t size;
    uint64_t sender, start_ns, sequence, policy_version;
    const uint8_t *resource; /* message body, not checked; NULL = none */
    uint32_t resource_size;
    uint32_t spans, points;              /* how many there are */
    const uint8_t *spans_at, *spans_end; /* the fields from the first span to the last; others may stand between */
    const uint8_t *hmac;                 /* WEIR_DATAGRAM_HMAC_BYTES; NULL: not signed */
    size_t signed_size;                  /* what it signs: bytes[0 .. signed_size) */
    struct weir_wire ask;                /* PolicyAsk, sound; `at` NULL: it asks nothing */
    uint64_t nonce;                      /* of the ask */
};

/* WEIR_OK: the outline is sound, *datagram points into bytes.
 * WEIR_UNSUPPORTED: another version, or none.
 * WEIR_INVALID: broken; err->text names field and byte. In both *datagram is undefined. */
enum weir_status weir_datagram_read(const uint8_t *bytes, size_t size, struct weir_datagram *datagram,
                                    struct weir_error *err);

/* Its sender as it is called everywhere: 16 hex digits and NUL. */
void weir_datagram_sender(const struct weir_datagram *datagram, char out[WEIR_DATAGRAM_SENDER_BYTES]);

/* What one lane's decoder keeps between datagrams; one thread. */
struct weir_datagrams;
struct weir_datagrams *weir_datagrams_new(struct weir_otlp *otlp, const struct weir_names *names,
                                          uint32_t label_value_bytes_max);
void weir_datagrams_free(struct weir_datagrams *datagrams); /* accepts NULL */

/* Copies the spans behind what the batch holds and appends their views, with receiver WEIR_RECEIVER_DATAGRAM. Spans
 * with a bad id are skipped and counted (counts is added to). WEIR_INVALID: a span or the resource is broken;
 * WEIR_FULL: no room; the batch holds the spans that it held before. */
enum weir_status weir_datagrams_spans(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                      struct weir_batch *batch, struct weir_otlp_counts *counts,
                                      struct weir_error *err);

/* The service that its spans are of, as their views have it: by the resource and the attribute rules. WEIR_INVALID: the
 * resource is broken; WEIR_FULL: no memory. */
enum weir_status weir_datagrams_service(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                                        uint32_t *service, struct weir_error *err);
/* The next operation that is asked for, as it is to be told, not checked. `ask` begins as the datagram's. False: there
 * is none any more. */
bool weir_datagram_operation(struct weir_wire *ask, const uint8_t **name, size_t *size);

struct weir_datagram_calls {
    void *self;
    void (*point)(void *self, const struct weir_point *point); /* valid during the call */
};
/* Gives out counters and histogram deltas. Returns the number of those that are sound and make no sense (no name,
 * bounds that do not ascend, a value that is negative or not finite). */
uint32_t weir_datagrams_points(struct weir_datagrams *datagrams, const struct weir_datagram *datagram,
                               const struct weir_datagram_calls *calls);
#endif
