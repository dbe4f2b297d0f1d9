/* asks.h - senders of datagrams ask what to sample: schemas/weir/v1/datagram.proto, PolicyAsk and PolicyAnswer. Whether
 * an ask is answered and with what; who may ask at all, and the sending, are the receiver's.
 *
 * An ask costs the one who sent it more bytes than its answer costs Weir, and a lane answers a bounded number of them a
 * second: whoever writes another's address into asks gains nothing. One a lane, one thread. */
#ifndef WEIR_RECEIVE_ASKS_H
#define WEIR_RECEIVE_ASKS_H
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/core/signature.h"
#include "collector/decode/datagram.h"
#include "collector/receive/senders.h"

enum {
    WEIR_ASK_BYTES_MIN = 1200,                                            /* an ask is padded to so many */
    WEIR_ASK_FIXED_BYTES = 2 + 9 + 11 + 9 + 4 + 2 + WEIR_SIGNATURE_BYTES, /* of an answer, without its thresholds */
    WEIR_ASK_OPERATIONS_MAX = (65507 - WEIR_ASK_FIXED_BYTES) / 8,         /* in the largest that UDP can carry */
    /* Of one sender. Who has more operations than one datagram can name asks several times at once. */
    WEIR_ASK_SENDER_BURST = 64,
    WEIR_ASK_SENDER_GAP_MS = 100,
    /* Of a lane, in answers of up to 256 operations; what is larger counts as several. 4,000 senders that ask every two
     * seconds are told another plan within four. */
    WEIR_ASK_OPERATIONS_EACH = 256,
    WEIR_ASK_ANSWERS_S = 1000,
    WEIR_ASK_BURST = 1000,
};

struct weir_steering;
struct weir_asks;

enum weir_ask_result { /* weir_policy_asks_total{result} */
                       WEIR_ASK_ANSWERED,
                       WEIR_ASK_CURRENT,   /* it has what is in force */
                       WEIR_ASK_NO_POLICY, /* proxies are told nothing */
                       WEIR_ASK_SHORT,     /* below WEIR_ASK_BYTES_MIN */
                       WEIR_ASK_NONCE,     /* 0 */
                       WEIR_ASK_REPEATED,  /* a copy of one that another lane had, or overtaken */
                       WEIR_ASK_LIMITED,   /* too soon, or too many */
                       WEIR_ASK_UNSIGNED,  /* not signed with the key */
                       WEIR_ASK_FAILED, /* its resource is broken, no memory, or the kernel did not take the answer */
                       WEIR_ASK_RESULTS
};

/* steering, signer: not owned; steering NULL: nothing is told; signer NULL: answers are not signed. NULL: no memory. */
struct weir_asks *weir_asks_new(struct weir_steering *steering, const struct weir_names *names,
                                struct weir_metrics *metrics, struct weir_signer *signer);

/* One ask, of a datagram that was found genuine and new. */
struct weir_ask {
    const struct weir_datagram *datagram;
    uint32_t service;
    struct weir_sender_note *note;
    uint64_t now_ns;
};
/* The bytes of the answer, or 0: there is none, which is counted. *answer is valid until the next. */
size_t weir_asks_answer(struct weir_asks *asks, const struct weir_ask *ask, const uint8_t **answer);
/* What came of an answer that was made (WEIR_ASK_ANSWERED or _FAILED), or of an ask that was not even looked at. */
void weir_asks_count(struct weir_asks *asks, enum weir_ask_result result);
void weir_asks_free(struct weir_asks *asks); /* accepts NULL */
#endif
