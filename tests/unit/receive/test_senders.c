/* What is counted of sequence numbers, as little scripts:
 *   12        a datagram with this number      s3.7     from now on of sender 3, run 7
 *   5-60      these one after another          t        half a second later: a tick
 *   w90       so many seconds pass             end      nothing more will come */
#include "collector/core/clock.h"
#include "collector/receive/senders.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { SENDERS_MAX = 4 };
#define TICK_NS   (500 * WEIR_MS)
#define EXPIRY_NS (60 * WEIR_S)

static struct {
    struct weir_senders *senders;
    uint64_t id, start, now_ns;
    uint64_t taken, behind;
} t;

static void hear(uint64_t sequence) {
    switch (weir_senders_hear(t.senders, t.id, t.start, sequence, t.now_ns)) {
    case WEIR_SENDER_TAKE: t.taken++; break;
    case WEIR_SENDER_BEHIND: t.behind++; break;
    case WEIR_SENDER_DUPLICATE: break;
    }
}

static void play(const char *script) {
    t.id = t.start = 1;
    t.now_ns = WEIR_S;
    t.taken = t.behind = 0;
    t.senders = weir_senders_new(SENDERS_MAX, EXPIRY_NS, 42);
    assert_non_null(t.senders);
    char *copy = strdup(script), *rest = NULL;
    for (char *word = strtok_r(copy, " ", &rest); word != NULL; word = strtok_r(NULL, " ", &rest)) {
        char *after;
        if (word[0] == 's') {
            t.id = strtoull(word + 1, &after, 10);
            t.start = strtoull(after + 1, NULL, 10);
        } else if (word[0] == 't') {
            t.now_ns += TICK_NS;
            weir_senders_tick(t.senders, t.now_ns, TICK_NS);
        } else if (word[0] == 'w') {
            t.now_ns += strtoull(word + 1, NULL, 10) * WEIR_S;
        } else if (strcmp(word, "end") == 0) {
            weir_senders_settle(t.senders);
        } else {
            uint64_t first = strtoull(word, &after, 10), last = *after == '-' ? strtoull(after + 1, NULL, 10) : first;
            for (; first < last; first++)
                hear(first);
            hear(last);
        }
    }
    free(copy);
}

static const struct row {
    const char *script;
    uint64_t taken, lost, reordered, late, duplicate, behind, evicted;
    uint32_t senders;
} rows[] = {
    /* In order; the first number heard begins the window. */
    {"1-100 end", .taken = 100, .senders = 1},
    {"5000-5100 end", .taken = 101, .senders = 1},
    {"1 end", .taken = 1, .senders = 1},
    /* A gap is lost when it leaves the window, or after two ticks, or at the end; once. */
    {"1-10 13-20", .taken = 18, .senders = 1},
    {"1-10 13-20 t", .taken = 18, .senders = 1},
    {"1-10 13-20 t t", .taken = 18, .lost = 2, .senders = 1},
    {"1-10 13-20 t t t t t end", .taken = 18, .lost = 2, .senders = 1},
    {"1-10 13-20 end end", .taken = 18, .lost = 2, .senders = 1},
    {"1-10 12-74", .taken = 73, .senders = 1},
    {"1-10 12-75", .taken = 74, .lost = 1, .senders = 1},
    {"1-10 12-75 t t end", .taken = 74, .lost = 1, .senders = 1},
    {"1 3 5 7 9 end", .taken = 5, .lost = 4, .senders = 1},
    {"1 t 3 t 5 t 7 t 9 t t", .taken = 5, .lost = 4, .senders = 1}, /* also while others come */
    /* A jump past the window: what is skipped, at once but for the last 63. */
    {"1 65", .taken = 2, .senders = 1},
    {"1 66", .taken = 2, .lost = 1, .senders = 1},
    {"1 65 end", .taken = 2, .lost = 63, .senders = 1},
    {"1 66 end", .taken = 2, .lost = 64, .senders = 1},
    {"1 1000000 end", .taken = 2, .lost = 999998, .senders = 1},
    {"1 4294967297 end", .taken = 2, .lost = 4294967295, .senders = 1},
    /* A number from nowhere is another count. */
    {"1 3 4294967300 4294967301 end", .taken = 4, .lost = 1, .senders = 1},
    {"1 3 18446744073709551615 end", .taken = 3, .lost = 1, .senders = 1},
    {"1 3 18446744073709551615 4 5 end", .taken = 5, .lost = 1, .senders = 1},
    /* Out of order: not lost. */
    {"1 3 2 4 end", .taken = 4, .reordered = 1, .senders = 1},
    {"1 5 4 3 2 6 end", .taken = 6, .reordered = 3, .senders = 1},
    {"1 65 2 end", .taken = 3, .lost = 62, .reordered = 1, .senders = 1},
    {"1 3 t 2 t t end", .taken = 3, .reordered = 1, .senders = 1},
    /* So late that it had been counted lost: it is taken, lost - late is what never came. */
    {"1 3 t t 2 end", .taken = 3, .lost = 1, .reordered = 1, .late = 1, .senders = 1},
    {"1 3 t t 2 2 end", .taken = 3, .lost = 1, .reordered = 1, .late = 1, .duplicate = 1, .senders = 1},
    {"1 3 t t 4-60 2 end", .taken = 60, .lost = 1, .reordered = 1, .late = 1, .senders = 1},
    /* From before the first that was heard: taken, and no loss if it does not come. */
    {"10 9 8 11 end", .taken = 4, .reordered = 2, .senders = 1},
    {"10 7 11 end", .taken = 3, .reordered = 1, .senders = 1},
    {"10 7 7 end", .taken = 2, .reordered = 1, .duplicate = 1, .senders = 1},
    /* Twice: taken once. */
    {"1 1 1 2 2 end", .taken = 2, .duplicate = 3, .senders = 1},
    {"1-64 1 end", .taken = 64, .duplicate = 1, .senders = 1},
    {"1-65 1 end", .taken = 65, .behind = 1, .senders = 1},
    {"1-64 1-64 end", .taken = 64, .duplicate = 64, .senders = 1},
    {"1 3 2 2 3 1 end", .taken = 3, .reordered = 1, .duplicate = 3, .senders = 1},
    /* A restart is no loss; what comes late from before it has the window of then. */
    {"s1.1 1-50 s1.2 1-10 end", .taken = 60, .senders = 2},
    {"s1.1 1-50 s1.2 7-10 end", .taken = 54, .senders = 2},
    {"s1.1 1-48 50 s1.2 1-2 s1.1 49 s1.2 3 end", .taken = 53, .reordered = 1, .senders = 2},
    {"s1.1 1-48 50 s1.2 1-2 s1.1 50 48 end", .taken = 51, .lost = 1, .duplicate = 2, .senders = 2},
    {"s1.2 1-10 s1.1 90-95 end", .taken = 16, .senders = 2},
    /* Senders do not disturb each other. */
    {"s1.1 1 s2.1 1 s1.1 2 s2.1 3 s1.1 3 end", .taken = 5, .lost = 1, .senders = 2},
    {"s1.1 1 3 s2.1 1 s2.1 2 t t s1.1 4", .taken = 5, .lost = 1, .senders = 2},
    {"s1.1 1 3 t s2.1 1 t s2.1 2 t t", .taken = 4, .lost = 1, .senders = 2},
    /* Expiry: what was open is lost, and the next one begins anew. */
    {"1 3 w61 t", .taken = 2, .lost = 1, .senders = 0},
    {"1 3 w61 t 2 end", .taken = 3, .lost = 1, .senders = 1},
    {"1 2 w30 s2.1 1 w31 t", .taken = 3, .senders = 1},
    {"1 2 w59 t 3 w59 t 4 end", .taken = 4, .senders = 1},
    {"1 w59 3 w59 t 4 w61 t s2.1 9", .taken = 4, .lost = 1, .senders = 1},
    /* Eviction: whoever was silent for longest. */
    {"s1.1 1 3 s2.1 1 s3.1 1 s4.1 1 s5.1 1", .taken = 6, .lost = 1, .evicted = 1, .senders = 4},
    {"s1.1 1 s2.1 1 s3.1 1 s4.1 1 s1.1 2 s5.1 1 s1.1 4 end", .taken = 7, .lost = 1, .evicted = 1, .senders = 4},
    {"s1.1 1 s2.1 1 s3.1 1 s4.1 1 s5.1 1 s2.1 3 s1.1 7 s2.1 4 end", .taken = 8, .lost = 1, .evicted = 2, .senders = 4},
};

static void test_rows(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct row *row = &rows[i];
        play(row->script);
        const struct weir_senders_counts *have = weir_senders_counts(t.senders);
        if (t.taken != row->taken || t.behind != row->behind || have->lost != row->lost ||
            have->reordered != row->reordered || have->late != row->late || have->duplicate != row->duplicate ||
            have->evicted != row->evicted || have->senders != row->senders)
            fail_msg("\"%s\": taken %llu, lost %llu, reordered %llu, late %llu, duplicate %llu, behind %llu, evicted "
                     "%llu, senders %u",
                     row->script, (unsigned long long)t.taken, (unsigned long long)have->lost,
                     (unsigned long long)have->reordered, (unsigned long long)have->late,
                     (unsigned long long)have->duplicate, (unsigned long long)t.behind,
                     (unsigned long long)have->evicted, have->senders);
        weir_senders_free(t.senders);
    }
}

/* How long a tick may wait. */
static void test_rest(void **state) {
    (void)state;
    struct weir_senders *senders = weir_senders_new(4, EXPIRY_NS, 1);
    assert_int_equal(weir_senders_tick(senders, WEIR_S, TICK_NS), 0);
    weir_senders_hear(senders, 1, 1, 1, WEIR_S);
    uint64_t now_ns = WEIR_S;
    for (int i = 0; i < 2; i++)
        assert_int_equal(weir_senders_tick(senders, now_ns += TICK_NS, TICK_NS), TICK_NS);
    now_ns += TICK_NS;
    assert_int_equal(weir_senders_tick(senders, now_ns, TICK_NS), WEIR_S + EXPIRY_NS - now_ns);
    assert_int_equal(weir_senders_tick(senders, WEIR_S + EXPIRY_NS, TICK_NS), 0);
    assert_int_equal(weir_senders_counts(senders)->senders, 0);
    weir_senders_free(senders);
}

/* A random net between a sender and us: at rest, what was sent is what was taken and what was lost. */
static void test_balance(void **state) {
    (void)state;
    enum { COUNT = 200000, RUNS = 7, APART = 40 };
    struct weir_senders *senders = weir_senders_new(RUNS, EXPIRY_NS, 7);
    uint64_t taken = 0, behind = 0, sent = 0, now_ns = WEIR_S, late[RUNS][APART] = {{0}}, next[RUNS];
    srand(4);
    for (int run = 0; run < RUNS; run++) {
        next[run] = 1;
        taken += weir_senders_hear(senders, 5, (uint64_t)run, next[run]++, now_ns) == WEIR_SENDER_TAKE;
        sent++;
    }
    for (int i = 0; i < COUNT; i++) {
        int run = rand() % RUNS, fate = rand() % 100;
        uint64_t *held = &late[run][rand() % APART], number = next[run]++;
        sent++;
        if (fate < 5) continue; /* lost */
        if (fate < 10 && *held == 0) {
            *held = number; /* overtaken */
            continue;
        }
        for (int times = fate < 15 ? 2 : 1; times > 0; times--)
            taken += weir_senders_hear(senders, 5, (uint64_t)run, number, now_ns) == WEIR_SENDER_TAKE;
        if (*held != 0) {
            enum weir_sender_verdict verdict = weir_senders_hear(senders, 5, (uint64_t)run, *held, now_ns);
            taken += verdict == WEIR_SENDER_TAKE;
            behind += verdict == WEIR_SENDER_BEHIND;
            *held = 0;
        }
        if (rand() % 1000 == 0) weir_senders_tick(senders, now_ns += TICK_NS, TICK_NS);
    }
    for (int run = 0; run < RUNS; run++) /* so that a loss at the very end is seen */
        taken += weir_senders_hear(senders, 5, (uint64_t)run, next[run], now_ns) == WEIR_SENDER_TAKE;
    sent += RUNS;
    weir_senders_settle(senders);
    const struct weir_senders_counts *counts = weir_senders_counts(senders);
    assert_true(behind > 0 && counts->late > 0 && counts->reordered > counts->late && counts->duplicate > 0);
    assert_int_equal(sent, taken + counts->lost - counts->late);
    weir_senders_free(senders);
}

/* Many come and go: the table finds each that it holds, and no other. */
static void test_churn(void **state) {
    (void)state;
    enum { MAX = 100, COUNT = 20000 };
    struct weir_senders *senders = weir_senders_new(MAX, EXPIRY_NS, 3);
    for (uint64_t i = 0; i < COUNT; i++) {
        assert_int_equal(weir_senders_hear(senders, i % 977, i / 977, 1, WEIR_S + i), WEIR_SENDER_TAKE);
        for (uint64_t back = 0; back <= 33 && back <= i; back += 33) {
            uint64_t one = i - back;
            assert_int_equal(weir_senders_hear(senders, one % 977, one / 977, 1, WEIR_S + i), WEIR_SENDER_DUPLICATE);
        }
    }
    assert_int_equal(weir_senders_counts(senders)->senders, MAX);
    assert_int_equal(weir_senders_counts(senders)->evicted, COUNT - MAX);
    weir_senders_tick(senders, WEIR_S + COUNT + EXPIRY_NS, TICK_NS);
    assert_int_equal(weir_senders_counts(senders)->senders, 0);
    weir_senders_free(senders);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_rows), cmocka_unit_test(test_rest),
                                       cmocka_unit_test(test_balance), cmocka_unit_test(test_churn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
