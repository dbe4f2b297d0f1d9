/* The loop in its own time: the clock is the test's, and moves when the test says. */
#include "collector/core/loop.h"
#include "tests/unit/core/unit.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

static _Atomic uint64_t now_ns;
static uint64_t read_now(void *self) {
    (void)self;
    return now_ns;
}
static const struct weir_clock clock_of_test = {.mono_ns = read_now, .unix_ns = read_now, .self = NULL};

static struct weir_loop *loop;
static unsigned rounds, rounds_max;

static void nudged(struct weir_mail *mail) {
    (void)mail;
}
static struct weir_mail nudge = {.deliver = nudged};

static void round_done(void *self) {
    (void)self;
    if (++rounds == rounds_max) {
        weir_loop_stop(loop);
    } else {
        weir_mailbox_post(weir_loop_mailbox(loop), &nudge); /* the next one comes without sleeping */
    }
}

/* So many rounds; the loop is a new one each time that a test begins. */
static void run_rounds(unsigned count) {
    rounds = 0;
    rounds_max = count;
    weir_loop_each_round(loop, round_done, NULL);
    weir_loop_run(loop);
}

static int set_up(void **state) {
    (void)state;
    struct weir_error err;
    now_ns = 1000 * WEIR_S;
    loop = weir_loop_new(&clock_of_test, &err);
    return loop == NULL;
}
static int tear_down(void **state) {
    (void)state;
    weir_loop_free(loop);
    loop = NULL;
    return 0;
}

/* ---- timers ---- */

enum { TIMERS = 300 };
static struct numbered {
    struct weir_timer timer; /* first */
    unsigned number;
} timers[TIMERS];
static unsigned fired[4 * TIMERS], fired_count;

static void fire(struct weir_timer *timer) {
    fired[fired_count++] = ((struct numbered *)timer)->number;
}

static void timers_reset(void) {
    memset(timers, 0, sizeof timers);
    fired_count = 0;
    for (unsigned i = 0; i < TIMERS; i++)
        timers[i] = (struct numbered){.timer.fire = fire, .number = i};
}

static void timers_fire_in_order(void **state) {
    (void)state;
    timers_reset();
    for (unsigned i = 0; i < TIMERS; i++) {
        unsigned number = i * 7 % TIMERS; /* 7 and 300 have no factor in common: each once */
        weir_loop_set(loop, &timers[number].timer, now_ns + number * WEIR_MS);
    }
    for (unsigned i = 0; i < TIMERS; i += 3)
        weir_loop_unset(loop, &timers[i].timer);
    for (unsigned i = 1; i < TIMERS; i += 3)
        weir_loop_set(loop, &timers[i].timer, now_ns + (TIMERS + i) * WEIR_MS); /* moved */
    weir_loop_unset(loop, &timers[0].timer);                                    /* also when not set */
    now_ns += 2 * TIMERS * WEIR_MS;
    run_rounds(1);
    assert_int_equal(fired_count, 2 * TIMERS / 3);
    for (unsigned i = 0; i < TIMERS / 3; i++) {
        assert_int_equal(fired[i], 3 * i + 2);
        assert_int_equal(fired[TIMERS / 3 + i], 3 * i + 1);
    }
    for (unsigned i = 0; i < TIMERS; i++)
        assert_int_equal(timers[i].timer.place, 0);
}

static void not_before_its_time(void **state) {
    (void)state;
    timers_reset();
    weir_loop_set(loop, &timers[0].timer, now_ns + 1);
    weir_loop_set(loop, &timers[1].timer, now_ns);
    run_rounds(1);
    assert_int_equal(fired_count, 1);
    assert_int_equal(fired[0], 1);
    assert_int_not_equal(timers[0].timer.place, 0);
}

static void fire_again(struct weir_timer *timer) {
    fire(timer);
    weir_loop_set(loop, timer, weir_loop_now(loop));
}

static void one_that_sets_itself_for_now_waits_a_round(void **state) {
    (void)state;
    timers_reset();
    timers[0].timer.fire = fire_again;
    weir_loop_set(loop, &timers[0].timer, now_ns);
    weir_loop_set(loop, &timers[1].timer, now_ns);
    run_rounds(5);
    assert_in_range(fired_count, 6, 11); /* 0 in each round, twice at most where it took another's turn; 1 once */
    unsigned ones = 0;
    for (unsigned i = 0; i < fired_count; i++)
        ones += fired[i] == 1;
    assert_int_equal(ones, 1);
}

static void unset_others(struct weir_timer *timer) {
    fire(timer);
    for (unsigned i = 1; i < TIMERS; i++)
        weir_loop_unset(loop, &timers[i].timer);
}

static void a_timer_unsets_others(void **state) {
    (void)state;
    timers_reset();
    timers[0].timer.fire = unset_others;
    for (unsigned i = 0; i < TIMERS; i++)
        weir_loop_set(loop, &timers[i].timer, now_ns + i);
    now_ns += WEIR_S;
    run_rounds(2);
    assert_int_equal(fired_count, 1);
}

/* ---- descriptors ---- */

enum { WATCHES = 8 };
static struct watched {
    struct weir_watch watch; /* first */
    unsigned ready;
    uint32_t events;
    struct watched *unwatches;
} watched[WATCHES];

static void ready(struct weir_watch *watch, uint32_t events) {
    struct watched *self = (struct watched *)watch;
    self->ready++;
    self->events = events;
    if (self->unwatches != NULL) weir_loop_unwatch(loop, &self->unwatches->watch);
}

static void watch_all(void) {
    for (int i = 0; i < WATCHES; i++) {
        watched[i] = (struct watched){.watch = {.fd = eventfd(1, EFD_NONBLOCK), .ready = ready}};
        assert_int_equal(weir_loop_watch(loop, &watched[i].watch, EPOLLIN, NULL), WEIR_OK);
    }
}
static void close_all(void) {
    for (int i = 0; i < WATCHES; i++)
        close(watched[i].watch.fd);
}

static void descriptors_are_told_until_unwatched(void **state) {
    (void)state;
    watch_all();
    run_rounds(3); /* the first has not slept yet */
    for (int i = 0; i < WATCHES; i++) {
        assert_int_equal(watched[i].ready, 2);
        assert_int_equal(watched[i].events, EPOLLIN);
    }
    close_all();
}

static void other_events_for_the_same(void **state) {
    (void)state;
    watch_all();
    weir_loop_rewatch(loop, &watched[0].watch, EPOLLOUT);
    weir_loop_rewatch(loop, &watched[1].watch, 0);
    run_rounds(2);
    assert_int_equal(watched[0].events, EPOLLOUT);
    assert_int_equal(watched[1].ready, 0);
    close_all();
}

static void the_first_takes_the_others_out(void **state) {
    (void)state;
    watch_all();
    for (int i = 0; i < WATCHES; i++)
        watched[i].unwatches = &watched[(i + 1) % WATCHES]; /* fetched in the same round */
    run_rounds(2);
    unsigned told = 0;
    for (int i = 0; i < WATCHES; i++)
        told += watched[i].ready;
    assert_int_equal(told, WATCHES / 2); /* 0 silences 1, 2 silences 3, ... */
    close_all();
}

static void a_descriptor_that_cannot_be_watched(void **state) {
    (void)state;
    struct weir_error err = {0};
    struct weir_watch watch = {.fd = -1, .ready = ready};
    assert_int_equal(weir_loop_watch(loop, &watch, EPOLLIN, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "epoll_ctl"));
}

/* ---- letters ---- */

enum { LETTERS = 2000 };
static struct weir_mail letters[LETTERS];
static unsigned delivered;

static void count_letter(struct weir_mail *mail) {
    (void)mail;
    if (++delivered == LETTERS) weir_loop_stop(loop);
}

static void post_from_outside(void *argument, unsigned index) {
    (void)argument;
    if (index == 0) {
        weir_loop_run(loop); /* sleeps without a bound: it is a letter that wakes it, or nothing */
    } else {
        for (int i = 0; i < LETTERS; i++) {
            letters[i].deliver = count_letter;
            weir_mailbox_post(weir_loop_mailbox(loop), &letters[i]);
        }
    }
}

static void letters_wake_it(void **state) {
    (void)state;
    delivered = 0;
    weir_loop_each_round(loop, NULL, NULL);
    unit_threads(2, post_from_outside, NULL);
    assert_int_equal(delivered, LETTERS);
}

static void post_in_last_step(void *self) {
    struct weir_mail *mail = self;
    rounds++;
    if (delivered == 0 && mail->deliver == NULL) {
        mail->deliver = count_letter;
        weir_mailbox_post(weir_loop_mailbox(loop), mail);
    } else if (delivered == 1) {
        weir_loop_stop(loop);
    }
}

static void a_letter_posted_in_the_last_step_is_not_slept_over(void **state) {
    (void)state;
    struct weir_mail mail = {0};
    delivered = rounds = 0;
    weir_loop_each_round(loop, post_in_last_step, &mail);
    weir_loop_run(loop); /* no timer, no descriptor: it would sleep for ever */
    assert_int_equal(delivered, 1);
    assert_int_equal(rounds, 2);
}

static void post_again(struct weir_mail *mail) {
    delivered++;
    weir_mailbox_post(weir_loop_mailbox(loop), mail);
}
static void post_again_until_stopped(struct weir_mail *mail) {
    if (rounds < 3) post_again(mail);
}

static void letters_that_beget_letters_starve_nobody(void **state) {
    (void)state;
    struct weir_mail mail = {.deliver = post_again_until_stopped};
    timers_reset();
    delivered = 0;
    weir_loop_set(loop, &timers[0].timer, now_ns);
    weir_mailbox_post(weir_loop_mailbox(loop), &mail);
    run_rounds(3);
    assert_int_equal(delivered, 3); /* one a round, as timers and descriptors had their turn */
    assert_int_equal(fired_count, 1);
}

static void the_last_letters_are_read(void **state) {
    (void)state;
    struct weir_mail mail = {.deliver = count_letter};
    delivered = 0;
    weir_loop_each_round(loop, NULL, NULL);
    weir_loop_stop(loop);
    weir_mailbox_post(weir_loop_mailbox(loop), &mail);
    weir_loop_run(loop);
    assert_int_equal(delivered, 1);
    weir_mailbox_post(weir_loop_mailbox(loop), &mail); /* after the loop: read when it is freed */
    weir_loop_free(loop);
    loop = NULL;
    assert_int_equal(delivered, 2);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(timers_fire_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(not_before_its_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(one_that_sets_itself_for_now_waits_a_round, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_timer_unsets_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(descriptors_are_told_until_unwatched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(other_events_for_the_same, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_first_takes_the_others_out, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_descriptor_that_cannot_be_watched, set_up, tear_down),
        cmocka_unit_test_setup_teardown(letters_wake_it, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_letter_posted_in_the_last_step_is_not_slept_over, set_up, tear_down),
        cmocka_unit_test_setup_teardown(letters_that_beget_letters_starve_nobody, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_last_letters_are_read, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
