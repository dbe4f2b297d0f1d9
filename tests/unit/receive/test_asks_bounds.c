/* How often who asks what to sample is answered, by a clock of our own. */
#include "tests/unit/receive/asking.h"

struct bound {
    struct weir_asks *asks;
    struct weir_datagram datagram;
    uint8_t bytes[64 * 1024];
    const uint8_t *answer;
    uint64_t now_ns;
};

static void open_bound(struct bound *bound) {
    open_board();
    publish(0.5);
    *bound = (struct bound){.asks = weir_asks_new(t.steering, t.names, t.metrics, NULL), .now_ns = 5 * WEIR_S};
    assert_non_null(bound->asks);
    size_t size = make(bound->bytes, &(struct asking){.nonce = 1, .size = 1200});
    assert_int_equal(weir_datagram_read(bound->bytes, size, &bound->datagram, NULL), WEIR_OK);
}
static void close_bound(struct bound *bound) {
    weir_asks_free(bound->asks);
    close_board();
}
static bool is_answered(struct bound *bound, struct weir_sender_note *note) {
    bound->datagram.sequence++;
    struct weir_ask one = {
        .datagram = &bound->datagram, .service = name_of("cart"), .note = note, .now_ns = bound->now_ns};
    if (weir_asks_answer(bound->asks, &one, &bound->answer) == 0) return false;
    weir_asks_count(bound->asks, WEIR_ASK_ANSWERED);
    return true;
}

static void one_sender_has_a_bound(void **state) {
    (void)state;
    struct bound bound;
    struct weir_sender_note note = {0}, other = {0};
    open_bound(&bound);
    for (int i = 0; i < WEIR_ASK_SENDER_BURST; i++)
        assert_true(is_answered(&bound, &note));
    bound.now_ns += WEIR_ASK_SENDER_GAP_MS * WEIR_MS - 1;
    assert_false(is_answered(&bound, &note));
    assert_true(is_answered(&bound, &other));
    bound.now_ns += 1;
    assert_true(is_answered(&bound, &note));
    assert_false(is_answered(&bound, &note));
    bound.now_ns += 3600 * WEIR_S; /* silence saves up no more than a burst */
    for (int i = 0; i < WEIR_ASK_SENDER_BURST; i++)
        assert_true(is_answered(&bound, &note));
    for (int i = 0; i < 5 * WEIR_ASK_BURST; i++) /* which takes nothing from others */
        assert_false(is_answered(&bound, &note));
    assert_true(is_answered(&bound, &other));
    assert_int_equal(asks("limited"), 2 + 5 * WEIR_ASK_BURST);
    close_bound(&bound);
}

/* Looking names up is what costs, so that an ask for many counts as several. */
static void asks_for_many_operations_cost_more(void **state) {
    (void)state;
    struct bound bound;
    const char *operations[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        operations[i] = "GET /items";
    open_bound(&bound);
    size_t size = make(bound.bytes, &(struct asking){operations, MANY, .nonce = 1, .size = 40000});
    assert_int_equal(weir_datagram_read(bound.bytes, size, &bound.datagram, NULL), WEIR_OK);
    uint32_t answered = 0;
    for (int i = 0; i < 1000; i++) {
        struct weir_sender_note note = {0};
        answered += is_answered(&bound, &note);
    }
    assert_in_range(answered, WEIR_ASK_BURST / (MANY / WEIR_ASK_OPERATIONS_EACH + 1), 91);
    close_bound(&bound);
}

static void a_flood_is_answered_up_to_a_bound(void **state) {
    (void)state;
    struct bound bound;
    uint32_t answered = 0;
    open_bound(&bound);
    for (int i = 0; i < 5000; i++) { /* at once, each by another name */
        struct weir_sender_note note = {0};
        answered += is_answered(&bound, &note);
    }
    assert_int_equal(answered, WEIR_ASK_BURST);
    for (int i = 0; i < 50000; i++) { /* then for five seconds */
        struct weir_sender_note note = {0};
        bound.now_ns += 100 * WEIR_US;
        answered += is_answered(&bound, &note);
    }
    assert_in_range(answered, WEIR_ASK_BURST + 5 * WEIR_ASK_ANSWERS_S - 1, WEIR_ASK_BURST + 5 * WEIR_ASK_ANSWERS_S + 1);
    assert_int_equal(asks("answered"), answered);
    assert_int_equal(asks("limited"), 55000 - answered);
    close_bound(&bound);
}

/* Lanes have windows of their own; a copy that comes to another one is not answered there. */
static void a_copy_on_another_lane(void **state) {
    (void)state;
    struct bound bound;
    struct weir_sender_note note = {0}, other = {0};
    open_bound(&bound);
    struct weir_asks *lanes[2] = {bound.asks, weir_asks_new(t.steering, t.names, t.metrics, NULL)};
    assert_true(is_answered(&bound, &note));
    struct weir_datagram copy = bound.datagram;
    assert_true(is_answered(&bound, &note));
    bound.asks = lanes[1];
    bound.datagram = copy, bound.datagram.sequence--; /* is_answered() counts */
    assert_false(is_answered(&bound, &other));
    assert_int_equal(asks("repeated"), 1);
    bound.datagram.sequence += 2;
    assert_true(is_answered(&bound, &other));
    bound.datagram.start_ns++, bound.datagram.sequence = 0; /* it begins again */
    assert_true(is_answered(&bound, &other));
    bound.datagram = copy; /* of the run before */
    bound.datagram.sequence += 100;
    assert_false(is_answered(&bound, &other));
    assert_int_equal(asks("repeated"), 2);
    weir_asks_free(lanes[0]);
    close_bound(&bound);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_sender_has_a_bound),
        cmocka_unit_test(asks_for_many_operations_cost_more),
        cmocka_unit_test(a_flood_is_answered_up_to_a_bound),
        cmocka_unit_test(a_copy_on_another_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
