/* receipt.h - what a caller is owed. A receipt counts the parts that a request became and is settled exactly once, by
 * whoever settles the last part; settling posts the answer to the receiver's own thread. */
#ifndef WEIR_CORE_RECEIPT_H
#define WEIR_CORE_RECEIPT_H
#include "collector/core/mailbox.h"

#include <stdatomic.h>
#include <stdint.h>

enum weir_outcome {
    WEIR_OWNED,   /* every span is in a place of the ledger; no queue behind may refuse */
    WEIR_DURABLE, /* every span is on disk */
    WEIR_REFUSED, /* nothing was kept or counted */
};

struct weir_receipt {
    struct weir_mail mail; /* first: its `deliver` runs on the receiver's thread, once, and may free the receipt */
    struct weir_mailbox *home;
    _Atomic uint32_t open;    /* parts not settled */
    _Atomic uint32_t outcome; /* the worst of the parts: REFUSED > OWNED > DURABLE */
};

/* `parts` >= 1; the caller of init holds one of them and settles it when the request is handed on. */
void weir_receipt_init(struct weir_receipt *receipt, struct weir_mailbox *home, void (*deliver)(struct weir_mail *mail),
                       uint32_t parts);
void weir_receipt_add(struct weir_receipt *receipt, uint32_t parts);               /* only while holding a part */
void weir_receipt_settle(struct weir_receipt *receipt, enum weir_outcome outcome); /* one part; any thread */
enum weir_outcome weir_receipt_outcome(const struct weir_receipt *receipt);        /* in deliver */
#endif
