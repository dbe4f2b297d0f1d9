/* Asking and being answered over the socket, by a peer that answers what it likes. */
#include "tests/unit/emitter/answer.h"
#include "tests/unit/emitter/peer.h"

static const char key_text[] = "sixteen bytes or more";

static struct {
    struct peer peer;
    struct weir_emit *emit;
    struct weir_emit_operation *a, *b;
    struct signing signing;
    uint64_t late; /* answers that came when their round was over */
} t;

static void open_both(const char *key) {
    struct weir_emit_options options = peer_options();
    peer_open(&t.peer);
    t.late = 0;
    options.flush_ms = 20;
    options.poll_ms = 50;
    options.initial_rate = 0;
    if (key != NULL) options.key = key, options.key_size = strlen(key);
    t.emit = peer_emitter(&t.peer, &options);
    t.a = weir_emit_operation(t.emit, "GET /a");
    t.b = weir_emit_operation(t.emit, "GET /b");
}
static void close_both(void) {
    weir_emit_close(t.emit);
    peer_close(&t.peer);
}

/* Waits for the next ask that names so many operations. */
static void wait_ask(uint32_t operations) {
    uint64_t before = t.peer.asks, until_ms = peer_clock_ms() + PEER_PATIENCE_MS;
    while (peer_clock_ms() < until_ms) {
        peer_hear(&t.peer, 1000);
        if (t.peer.asks > before && t.peer.ask.count == operations) return;
    }
    fail_msg("no ask of %u operations; the last one had %u", operations, t.peer.ask.count);
}

static struct answer good(void) {
    return (struct answer){.version = 1,
                           .nonce = t.peer.ask.nonce,
                           .policy_version = 8,
                           .threshold = 5,
                           .thresholds = {WEIR_EMIT_NEVER / 2, 0},
                           .count = 2};
}

static void send_to(int fd, const struct answer *answer) {
    uint8_t bytes[4096];
    size_t size = answer_write(answer, bytes);
    assert_int_equal(sendto(fd, bytes, size, 0, (struct sockaddr *)&t.peer.from, sizeof t.peer.from), size);
}

static struct weir_emit_stats stats(void) {
    struct weir_emit_stats now;
    weir_emit_stats(t.emit, &now, sizeof now);
    return now;
}

/* Until so many answers were looked at, late ones apart. */
static void wait_answers(uint64_t taken, uint64_t refused) {
    struct weir_emit_stats now = stats();
    for (unsigned i = 0; i < 12000; i++, now = stats()) {
        if (now.answers == taken && now.answers_refused == refused + t.late) return;
        usleep(5000);
    }
    fail_msg("answers: %llu taken, %llu refused", (unsigned long long)now.answers,
             (unsigned long long)now.answers_refused);
}

/* Answers the last ask, and where the next one was quicker that one, until an answer is taken. Returns that. */
static struct answer answer_until_taken(struct answer answer) {
    struct weir_emit_stats before = stats(), now;
    for (;;) {
        uint64_t seen = stats().answers_refused;
        answer.nonce = t.peer.ask.nonce;
        send_to(t.peer.fd, &answer);
        now = stats();
        for (unsigned i = 0; now.answers == before.answers && now.answers_refused == seen; i++, now = stats()) {
            if (i == 30000) fail_msg("an answer was not looked at");
            usleep(1000);
        }
        if (now.answers > before.answers) return answer;
        t.late++;
        wait_ask(answer.count);
    }
}

static void wait_threshold(const struct weir_emit_operation *operation, uint64_t threshold) {
    for (unsigned i = 0; i < 12000 && weir_emit_threshold(operation) != threshold; i++)
        usleep(5000);
    assert_int_equal(weir_emit_threshold(operation), threshold);
}

static void asked_and_followed(void **state) {
    (void)state;
    open_both(NULL);
    assert_int_equal(weir_emit_threshold(t.a), WEIR_EMIT_NEVER);
    wait_ask(2);
    assert_string_equal(t.peer.ask.names[0], "GET /a");
    assert_string_equal(t.peer.ask.names[1], "GET /b");
    assert_int_equal(t.peer.ask.version, 0);
    assert_true(t.peer.ask.bytes >= 1200);
    uint64_t first = t.peer.ask.nonce;
    wait_ask(2); /* lost: asked again, with another nonce */
    assert_int_not_equal(t.peer.ask.nonce, first);
    struct answer answer, late = good();
    late.nonce = first;
    send_to(t.peer.fd, &late);
    wait_answers(0, 1);
    answer = answer_until_taken(good());
    wait_answers(1, 1);
    wait_threshold(t.a, WEIR_EMIT_NEVER / 2);
    wait_threshold(t.b, 0);
    wait_threshold(weir_emit_operation(t.emit, "other"), 5);
    assert_int_equal(stats().policy_version, 8);
    send_to(t.peer.fd, &answer); /* a replay */
    wait_answers(1, 2);
    wait_ask(2);
    assert_int_equal(t.peer.ask.version, 8); /* as are datagrams from now on */
    /* A new one has what is said of unnamed ones, until it is asked for: under no version, so that it is answered. */
    struct weir_emit_operation *c = weir_emit_operation(t.emit, "GET /c");
    assert_int_equal(weir_emit_threshold(c), 5);
    wait_ask(1);
    assert_string_equal(t.peer.ask.names[0], "GET /c");
    assert_int_equal(t.peer.ask.version, 0);
    answer = good();
    answer.count = 1;
    answer.thresholds[0] = 77;
    answer_until_taken(answer);
    wait_answers(2, 2);
    wait_threshold(c, 77);
    assert_int_equal(weir_emit_threshold(t.a), WEIR_EMIT_NEVER / 2);
    wait_ask(3);
    assert_int_equal(t.peer.ask.version, 8);
    close_both();
}

static void what_is_not_believed_changes_nothing(void **state) {
    (void)state;
    open_both(key_text);
    signing_begin(&t.signing, key_text, strlen(key_text));
    wait_ask(2);
    assert_true(t.peer.is_signed);
    struct answer answer = good();
    send_to(t.peer.fd, &answer); /* not signed */
    answer.signing = &t.signing;
    answer.nonce = 1; /* a stranger's who has the key */
    send_to(t.peer.fd, &answer);
    wait_ask(2);
    answer = good(), answer.signing = &t.signing, answer.pad = 1400; /* larger than what asked */
    send_to(t.peer.fd, &answer);
    wait_answers(0, 3);
    assert_int_equal(sendto(t.peer.fd, "\xff\xff", 2, 0, (struct sockaddr *)&t.peer.from, sizeof t.peer.from), 2);
    wait_answers(0, 4);
    /* From another address: the kernel does not hand it over. */
    int stranger = socket(AF_INET, SOCK_DGRAM, 0);
    wait_ask(2);
    answer = good(), answer.signing = &t.signing;
    send_to(stranger, &answer);
    close(stranger);
    usleep(50000);
    assert_int_equal(weir_emit_threshold(t.a), WEIR_EMIT_NEVER);
    assert_int_equal(stats().policy_version, 0);
    wait_ask(2);
    answer = good(), answer.signing = &t.signing;
    answer_until_taken(answer);
    wait_answers(1, 4);
    wait_threshold(t.a, WEIR_EMIT_NEVER / 2);
    peer_flush(&t.peer, t.emit);
    if (t.peer.lost == 0) { /* else counts may be of what was lost */
        assert_true(peer_value(&t.peer, "emitter_answers_total|service|cart|verdict|signature") == 1);
        assert_true(peer_value(&t.peer, "emitter_answers_total|service|cart|verdict|nonce") == 1 + (double)t.late);
        assert_true(peer_value(&t.peer, "emitter_answers_total|service|cart|verdict|large") == 1);
        assert_true(peer_value(&t.peer, "emitter_answers_total|service|cart|verdict|malformed") == 1);
        assert_true(peer_value(&t.peer, "emitter_answers_total|service|cart|verdict|taken") == 1);
    }
    close_both();
}

/* ---- more names than one datagram holds ---- */

enum { OPERATIONS = 90 };
static const char long_name[] = "GET /some/rather/long/path/of/an/operation/%u";

static bool are_told(struct weir_emit_operation *const *operations, uint64_t version, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (weir_emit_threshold(operations[i]) != 100 * version + i) return false;
    }
    return true;
}

/* Answers the asks that come, under this version, T being 100 times that and the operation's number, until the first
 * `count` of them are told so. Those that name an operation from lost_from on are not answered. */
static void answer_all(struct weir_emit_operation *const *operations, uint64_t version, unsigned lost_from,
                       unsigned count) {
    uint64_t until_ms = peer_clock_ms() + PEER_PATIENCE_MS;
    while (!are_told(operations, version, count) && peer_clock_ms() < until_ms) {
        uint64_t before = t.peer.asks;
        if (!peer_hear_one(&t.peer, 20) || t.peer.asks == before) continue;
        struct answer answer = good();
        bool lost = false;
        answer.policy_version = version;
        answer.count = t.peer.ask.count;
        for (uint32_t n = 0; n < answer.count; n++) {
            unsigned number = 0;
            sscanf(t.peer.ask.names[n], long_name, &number);
            lost = lost || number >= lost_from;
            answer.thresholds[n] = 100 * version + number;
        }
        if (!lost) send_to(t.peer.fd, &answer);
    }
    assert_true(are_told(operations, version, count));
}

static void wait_version(uint64_t version) {
    for (unsigned i = 0; i < 12000 && stats().policy_version != version; i++)
        usleep(5000);
    assert_int_equal(stats().policy_version, version);
}

/* The version that asks are under from now on. */
static void wait_asks_under(uint64_t version) {
    uint64_t until_ms = peer_clock_ms() + PEER_PATIENCE_MS;
    while (t.peer.ask.version != version && peer_clock_ms() < until_ms)
        peer_hear(&t.peer, 1000);
    assert_int_equal(t.peer.ask.version, version);
}

/* Hears an ask that was made after what is told by now; others may be on their way. */
static void wait_new_ask(void) {
    uint64_t made = stats().asks, until_ms = peer_clock_ms() + PEER_PATIENCE_MS;
    while (t.peer.asks <= made && peer_clock_ms() < until_ms)
        peer_hear(&t.peer, 1000);
    assert_true(t.peer.asks > made);
}

static void open_many(struct weir_emit_operation *operations[OPERATIONS]) {
    open_both(NULL);
    for (unsigned i = 0; i < OPERATIONS; i++) {
        char name[64];
        snprintf(name, sizeof name, long_name, i);
        operations[i] = weir_emit_operation(t.emit, name);
    }
}

/* Several asks, and the version is followed when all are answered. */
static void several_asks(void **state) {
    (void)state;
    struct weir_emit_operation *operations[OPERATIONS];
    open_many(operations);
    answer_all(operations, 8, OPERATIONS, OPERATIONS);
    wait_version(8);
    wait_asks_under(8);
    close_both();
}

/* Some have what a version says that the others have not heard of: it is not followed, and were it taken back, nobody
 * would say so to a sender that asks under the one before. */
static void some_answers_are_lost(void **state) {
    (void)state;
    struct weir_emit_operation *operations[OPERATIONS];
    open_many(operations);
    answer_all(operations, 8, OPERATIONS, OPERATIONS);
    wait_version(8);
    wait_asks_under(8);
    answer_all(operations, 9, 60, 1);
    assert_int_equal(stats().policy_version, 8);
    wait_new_ask();
    assert_int_equal(t.peer.ask.version, 0);
    assert_string_not_equal(t.peer.ask.names[0], "GET /a"); /* it was told */
    answer_all(operations, 8, OPERATIONS, OPERATIONS);
    wait_asks_under(8);
    close_both();
}

/* As large as a datagram can be, and full of names. */
static void a_large_ask(void **state) {
    (void)state;
    enum { MANY = 250 };
    struct weir_emit_options options = peer_options();
    peer_open(&t.peer);
    options.flush_ms = 20;
    options.poll_ms = 20;
    options.datagram_bytes = 65507;
    t.emit = peer_emitter(&t.peer, &options);
    for (unsigned i = 0; i < MANY; i++) {
        char name[256];
        snprintf(name, sizeof name, "%0250u", i);
        weir_emit_operation(t.emit, name);
    }
    wait_ask(MANY); /* where it is read, and has to be sound */
    close_both();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(asked_and_followed), cmocka_unit_test(what_is_not_believed_changes_nothing),
        cmocka_unit_test(several_asks),       cmocka_unit_test(some_answers_are_lost),
        cmocka_unit_test(a_large_ask),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
