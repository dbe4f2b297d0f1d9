#include "collector/core/receipt.h"
#include "tests/unit/core/unit.h"

struct owed {
    struct weir_receipt receipt; /* first */
    unsigned answers;
    enum weir_outcome outcome;
};

static void answer(struct weir_mail *mail) {
    struct owed *owed = (struct owed *)mail;
    owed->answers++;
    owed->outcome = weir_receipt_outcome(&owed->receipt);
}

static void settled_by_the_last_part(void **state) {
    (void)state;
    struct weir_mailbox home;
    struct owed owed = {0};
    assert_true(weir_mailbox_open(&home));
    weir_receipt_init(&owed.receipt, &home, answer, 1);
    weir_receipt_add(&owed.receipt, 2);
    weir_receipt_settle(&owed.receipt, WEIR_OWNED);
    weir_receipt_settle(&owed.receipt, WEIR_OWNED);
    assert_int_equal(weir_mailbox_read(&home), 0);
    weir_receipt_settle(&owed.receipt, WEIR_OWNED);
    assert_int_equal(owed.answers, 0); /* by letter, never from within */
    assert_int_equal(weir_mailbox_read(&home), 1);
    assert_int_equal(owed.answers, 1);
    assert_int_equal(owed.outcome, WEIR_OWNED);
    weir_mailbox_close(&home);
}

static void the_worst_outcome_counts(void **state) {
    (void)state;
    static const enum weir_outcome rows[][4] = {
        {WEIR_DURABLE, WEIR_DURABLE, WEIR_DURABLE, WEIR_DURABLE}, /* the last is what comes out */
        {WEIR_DURABLE, WEIR_OWNED, WEIR_DURABLE, WEIR_OWNED},
        {WEIR_OWNED, WEIR_DURABLE, WEIR_DURABLE, WEIR_OWNED},
        {WEIR_REFUSED, WEIR_OWNED, WEIR_DURABLE, WEIR_REFUSED},
        {WEIR_OWNED, WEIR_DURABLE, WEIR_REFUSED, WEIR_REFUSED},
    };
    struct weir_mailbox home;
    assert_true(weir_mailbox_open(&home));
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct owed owed = {0};
        weir_receipt_init(&owed.receipt, &home, answer, 3);
        for (int part = 0; part < 3; part++)
            weir_receipt_settle(&owed.receipt, rows[i][part]);
        assert_int_equal(weir_mailbox_read(&home), 1);
        if (owed.outcome != rows[i][3]) fail_msg("row %zu: %d", i, owed.outcome);
    }
    weir_mailbox_close(&home);
}

enum { RECEIPTS = 3000, SETTLERS = 4 };
struct many {
    struct owed owed[RECEIPTS];
};

static void settles(void *argument, unsigned index) {
    struct many *many = argument;
    for (unsigned i = 0; i < RECEIPTS; i++) {
        weir_receipt_settle(&many->owed[i].receipt, i % SETTLERS == index && i % 3 == 0 ? WEIR_REFUSED : WEIR_OWNED);
    }
}

static void once_whichever_thread_is_last(void **state) {
    (void)state;
    struct weir_mailbox home;
    static struct many many;
    assert_true(weir_mailbox_open(&home));
    for (unsigned i = 0; i < RECEIPTS; i++)
        weir_receipt_init(&many.owed[i].receipt, &home, answer, SETTLERS);
    unit_threads(SETTLERS, settles, &many);
    assert_int_equal(weir_mailbox_read(&home), RECEIPTS);
    for (unsigned i = 0; i < RECEIPTS; i++) {
        assert_int_equal(many.owed[i].answers, 1);
        assert_int_equal(many.owed[i].outcome, i % 3 == 0 ? WEIR_REFUSED : WEIR_OWNED);
    }
    weir_mailbox_close(&home);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(settled_by_the_last_part),
        cmocka_unit_test(the_worst_outcome_counts),
        cmocka_unit_test(once_whichever_thread_is_last),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
