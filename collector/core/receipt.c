#include "collector/core/receipt.h"

#include <assert.h>

static uint32_t badness(uint32_t outcome) {
    return outcome == WEIR_REFUSED ? 2 : outcome == WEIR_OWNED ? 1 : 0;
}

void weir_receipt_init(struct weir_receipt *receipt, struct weir_mailbox *home, void (*deliver)(struct weir_mail *mail),
                       uint32_t parts) {
    receipt->mail = (struct weir_mail){.deliver = deliver};
    receipt->home = home;
    atomic_init(&receipt->open, parts);
    atomic_init(&receipt->outcome, WEIR_DURABLE);
}

void weir_receipt_add(struct weir_receipt *receipt, uint32_t parts) {
    uint32_t before = atomic_fetch_add_explicit(&receipt->open, parts, memory_order_relaxed);
    assert(before > 0);
    (void)before;
}

void weir_receipt_settle(struct weir_receipt *receipt, enum weir_outcome outcome) {
    uint32_t held = atomic_load_explicit(&receipt->outcome, memory_order_relaxed);
    while (badness(outcome) > badness(held) &&
           !atomic_compare_exchange_weak_explicit(&receipt->outcome, &held, outcome, memory_order_relaxed,
                                                  memory_order_relaxed)) {
    }
    uint32_t before = atomic_fetch_sub_explicit(&receipt->open, 1, memory_order_acq_rel);
    assert(before > 0);
    if (before == 1) weir_mailbox_post(receipt->home, &receipt->mail);
}

enum weir_outcome weir_receipt_outcome(const struct weir_receipt *receipt) {
    return (enum weir_outcome)atomic_load_explicit(&receipt->outcome, memory_order_acquire);
}
