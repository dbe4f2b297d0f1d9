#include "collector/core/mailbox.h"
#include "tests/unit/core/unit.h"

#include <poll.h>
#include <stdatomic.h>
#include <stdlib.h>

enum { POSTERS = 4, LETTERS = 5000 };

struct letter {
    struct weir_mail mail; /* first */
    struct box *box;
    unsigned poster, number;
};

struct box {
    struct weir_mailbox mailbox;
    unsigned next[POSTERS];
    unsigned delivered, out_of_order;
    struct letter *again; /* posts this one while delivering */
};

static void deliver(struct weir_mail *mail) {
    struct letter *letter = (struct letter *)mail;
    struct box *box = letter->box;
    if (box->next[letter->poster] != letter->number) box->out_of_order++;
    box->next[letter->poster] = letter->number + 1;
    box->delivered++;
    struct letter *again = box->again;
    box->again = NULL;
    free(letter);
    if (again != NULL) weir_mailbox_post(&box->mailbox, &again->mail);
}

static struct letter *letter_new(struct box *box, unsigned poster, unsigned number) {
    struct letter *letter = malloc(sizeof *letter);
    *letter = (struct letter){.mail.deliver = deliver, .box = box, .poster = poster, .number = number};
    return letter;
}

static bool woken(struct box *box) {
    struct pollfd poll_fd = {.fd = box->mailbox.wake_fd, .events = POLLIN};
    return poll(&poll_fd, 1, 0) == 1;
}

static void posts(void *argument, unsigned index) {
    struct box *box = argument;
    if (index < POSTERS) {
        for (unsigned n = 0; n < LETTERS; n++)
            weir_mailbox_post(&box->mailbox, &letter_new(box, index, n)->mail);
        return;
    }
    weir_mailbox_own(&box->mailbox); /* the reader sleeps only when it is told to wake */
    while (box->delivered < POSTERS * LETTERS) {
        struct pollfd poll_fd = {.fd = box->mailbox.wake_fd, .events = POLLIN};
        if (poll(&poll_fd, 1, 60000) != 1) return;
        weir_mailbox_clear_wake(&box->mailbox);
        weir_mailbox_read(&box->mailbox);
    }
}

static void nothing_is_lost_and_each_posters_order_stays(void **state) {
    (void)state;
    struct box box = {0};
    assert_true(weir_mailbox_open(&box.mailbox));
    unit_threads(POSTERS + 1, posts, &box);
    assert_int_equal(box.delivered, POSTERS * LETTERS);
    assert_int_equal(box.out_of_order, 0);
    weir_mailbox_close(&box.mailbox);
}

static void the_first_letter_wakes(void **state) {
    (void)state;
    struct box box = {0};
    assert_true(weir_mailbox_open(&box.mailbox));
    assert_false(woken(&box));
    assert_int_equal(weir_mailbox_read(&box.mailbox), 0);
    weir_mailbox_post(&box.mailbox, &letter_new(&box, 0, 0)->mail);
    assert_true(woken(&box));
    weir_mailbox_clear_wake(&box.mailbox);
    weir_mailbox_post(&box.mailbox, &letter_new(&box, 0, 1)->mail);
    assert_false(woken(&box)); /* it is being read anyway */
    assert_int_equal(weir_mailbox_read(&box.mailbox), 2);
    weir_mailbox_close(&box.mailbox);
}

static void letters_to_oneself_are_read_without_a_wake(void **state) {
    (void)state;
    struct box box = {0};
    assert_true(weir_mailbox_open(&box.mailbox));
    weir_mailbox_own(&box.mailbox);
    assert_false(weir_mailbox_to_self(&box.mailbox));
    weir_mailbox_post(&box.mailbox, &letter_new(&box, 0, 0)->mail);
    assert_false(woken(&box));
    assert_true(weir_mailbox_to_self(&box.mailbox));
    box.again = letter_new(&box, 0, 1);
    assert_int_equal(weir_mailbox_read(&box.mailbox), 1); /* what delivering posts is for the next time */
    assert_true(weir_mailbox_to_self(&box.mailbox));
    assert_int_equal(weir_mailbox_read(&box.mailbox), 1);
    assert_false(weir_mailbox_to_self(&box.mailbox));
    assert_int_equal(box.out_of_order, 0);
    weir_mailbox_close(&box.mailbox);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost_and_each_posters_order_stays),
        cmocka_unit_test(the_first_letter_wakes),
        cmocka_unit_test(letters_to_oneself_are_read_without_a_wake),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
