/* answer.h - PolicyAnswers, made by the collector's writer of protobuf, and broken on purpose. */
#ifndef WEIR_TESTS_EMITTER_ANSWER_H
#define WEIR_TESTS_EMITTER_ANSWER_H
#include "collector/core/wire.h"
#include "emitter/signing.h"

struct answer {
    uint64_t version, nonce, policy_version, threshold;
    uint64_t thresholds[32];
    uint32_t count;
    bool packed;
    const struct signing *signing; /* NULL: not signed */
    size_t pad;                    /* bytes of a field that nobody knows */
};

static inline size_t answer_write(const struct answer *answer, uint8_t *out) {
    uint8_t *at = weir_wire_put_uint(out, 1, answer->version);
    at = weir_wire_put_fixed64(at, 2, answer->nonce);
    at = weir_wire_put_uint(at, 3, answer->policy_version);
    at = weir_wire_put_fixed64(at, 4, answer->threshold);
    if (answer->packed) at = weir_wire_put_bytes(at, 5, answer->thresholds, answer->count * sizeof(uint64_t));
    for (uint32_t i = 0; i < answer->count && !answer->packed; i++)
        at = weir_wire_put_fixed64(at, 5, answer->thresholds[i]);
    if (answer->pad > 0) {
        at = weir_wire_put_varint(weir_wire_put_key(at, 9, WEIR_WIRE_BYTES), answer->pad);
        memset(at, 0, answer->pad);
        at += answer->pad;
    }
    if (answer->signing != NULL) {
        uint8_t signature[SIGNATURE_BYTES];
        signing_sign(answer->signing, out, (size_t)(at - out), signature);
        at = weir_wire_put_bytes(at, 15, signature, sizeof signature);
    }
    return (size_t)(at - out);
}
#endif
