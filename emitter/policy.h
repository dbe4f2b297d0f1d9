/* policy.h - asking Weir what to sample, and which answers are believed (PolicyAsk and PolicyAnswer of
 * schemas/weir/v1/datagram.proto). No socket, no clock here. One thread.
 *
 * A round asks for all operations, in as many asks as they need; each has a nonce of its own, which is good for one
 * answer and until the next round. What an answer says holds at once; the version is followed when all asks of one
 * round were answered with the same. What is not believed changes nothing. */
#ifndef WEIR_EMITTER_POLICY_H
#define WEIR_EMITTER_POLICY_H
#include "emitter/signing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { POLICY_ASKS_MAX = 64 };

enum policy_verdict {
    POLICY_TAKEN,
    POLICY_MALFORMED, /* no PolicyAnswer, another version of it, T beyond 2^56, more thresholds than were asked for */
    POLICY_SIGNATURE, /* not signed, or by another key */
    POLICY_NONCE,     /* a stranger's, late, or a second one */
    POLICY_LARGE,     /* longer than what asked */
    POLICY_SAME,      /* the version that the ask said was followed */
    POLICY_VERDICTS
};

struct policy_answer {
    uint64_t nonce, version, threshold;
    size_t signed_size;  /* so many bytes of it are signed */
    const uint8_t *hmac; /* NULL: not signed */
    uint32_t threshold_count;
};
/* Pure. False: malformed. thresholds[0..room) get the first of threshold_count. */
bool policy_parse(const uint8_t *bytes, size_t size, struct policy_answer *answer, uint64_t *thresholds, uint32_t room);

struct policy_ask {
    uint64_t nonce; /* 0: answered */
    uint64_t version;
    uint32_t first, count; /* operations */
};
struct policy {
    const struct signing *signing; /* NULL: none */
    uint64_t version;              /* followed */
    uint64_t heard;                /* of the last answer that was taken; 0: none */
    uint64_t threshold;            /* of operations that nothing was said of */
    struct policy_ask asks[POLICY_ASKS_MAX];
    uint32_t ask_count, answered;
    uint64_t round_version; /* that all answers of the round had so far; 0: none yet, or they differ */
    bool differ;
    uint64_t *thresholds; /* room for operations_max */
    uint32_t operations_max;
};

/* What an answer that was believed says of operations first .. first + count. */
struct policy_news {
    uint64_t version;
    uint32_t first, count;
    const uint64_t *thresholds;
};

/* A new round: what was asked before is not waited for. */
void policy_round(struct policy *policy);
/* Notes an ask of the round. False: the round has no room. */
bool policy_asked(struct policy *policy, uint64_t nonce, uint64_t version, uint32_t first, uint32_t count);
/* ask_bytes: of the datagram that asked. POLICY_TAKEN: *news says what holds now. */
enum policy_verdict policy_hear(struct policy *policy, const uint8_t *bytes, size_t size, size_t ask_bytes,
                                struct policy_news *news);
#endif
