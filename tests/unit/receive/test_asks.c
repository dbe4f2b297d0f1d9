/* test_asks.c - who asks what to sample: bounds with a clock of our own, then answers over real sockets. */
#define _GNU_SOURCE 1
#include "collector/receive/asks.h"
#include "collector/receive/udp.h"
#include "collector/sample/policy.h"
#include "collector/sample/steering.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static const char key[] = "a key of twenty bytes";

static struct {
    struct weir_loop *loop;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_steering *steering;
    struct weir_budget budget;
    struct weir_config config;
    void *receiver;
    pthread_t thread;
    struct weir_signer *signer; /* the sender's; NULL: it does not sign */
    int fd;
    uint16_t port;
    uint64_t sender, sequence, version; /* of the next datagram */
} t;

/* ---- the policy ---- */

static uint32_t name_of(const char *text) {
    return weir_names_intern(t.names, text, strlen(text));
}

static uint64_t publish(double cart) {
    struct weir_plan_rate operations[] = {
        {.name = name_of("GET /items"), .operation = name_of("GET /items"), .rate = 1},
        {.name = name_of("GET /healthz"), .operation = name_of("GET /healthz"), .rate = 0},
        {.name = name_of("GET /users/:id"), .operation = name_of("GET /users/{id}"), .rate = 0.125},
    };
    const struct weir_plan_service fallback = {.rate.rate = 0.25, .max_traces_per_second = -1};
    const struct weir_plan_service service = {.rate = {.name = name_of("cart"), .rate = cart},
                                              .max_traces_per_second = -1,
                                              .operations = operations,
                                              .operation_count = 3};
    const struct weir_plan *plan = weir_plan_new(t.names, 7, &fallback, &service, 1);
    assert_non_null(plan);
    uint64_t version = weir_plan_find(plan, name_of("cart"))->version;
    weir_steering_publish(t.steering, plan, NULL, 0, false, NULL);
    weir_plan_unref(plan);
    return version;
}

static bool followers_say(const char *text) {
    struct weir_buffer page = {0};
    weir_steering_write(t.steering, &page);
    weir_buffer_byte(&page, 0);
    bool found = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return found;
}

static uint64_t asks(const char *result) {
    struct weir_buffer page = {0};
    char line[96];
    snprintf(line, sizeof line, "weir_policy_asks_total{result=\"%s\"} ", result);
    weir_metrics_expose(t.metrics, &page);
    weir_buffer_byte(&page, 0);
    const char *at = strstr((const char *)page.bytes, line);
    uint64_t value = at != NULL ? strtoull(at + strlen(line), NULL, 10) : UINT64_MAX;
    weir_buffer_free(&page);
    return value;
}

static void wait_for(const char *result, uint64_t count) {
    for (int i = 0; i < 1000 && asks(result) < count; i++)
        usleep(5000);
    assert_int_equal(asks(result), count);
}

/* ---- the sender ---- */

struct asking {
    const char *const *operations;
    uint32_t count;
    uint64_t nonce;
    size_t size;          /* of the whole datagram, at least what it needs */
    const char *resource; /* its bytes; NULL: that of `cart` */
    bool forged;
};

/* 48 KiB are room for all that is asked here. */
static size_t make(uint8_t *out, const struct asking *asking) {
    static uint8_t body[48 * 1024];
    static const char cart[] = "\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04"
                               "cart";
    uint8_t *at = weir_wire_put_uint(out, 1, 1), *end = body;
    at = weir_wire_put_fixed64(at, 2, t.sender);
    at = weir_wire_put_fixed64(at, 3, 1);
    at = weir_wire_put_uint(at, 4, ++t.sequence);
    if (asking->resource != NULL)
        at = weir_wire_put_bytes(at, 5, asking->resource, strlen(asking->resource));
    else
        at = weir_wire_put_bytes(at, 5, cart, sizeof cart - 1);
    if (t.version != 0) at = weir_wire_put_uint(at, 9, t.version);
    if (asking->nonce != 0) end = weir_wire_put_fixed64(end, 1, asking->nonce);
    for (uint32_t i = 0; i < asking->count; i++)
        end = weir_wire_put_bytes(end, 2, asking->operations[i], strlen(asking->operations[i]));
    at = weir_wire_put_bytes(at, 10, body, (size_t)(end - body));
    size_t own = (size_t)(at - out) + (t.signer != NULL ? 18 : 0);
    if (own + 4 <= asking->size) {
        size_t left = asking->size - own - 4; /* its length is written with three bytes, whatever it is */
        *at++ = 14 << 3 | WEIR_WIRE_BYTES;
        *at++ = (uint8_t)(left | 0x80), *at++ = (uint8_t)(left >> 7 | 0x80), *at++ = (uint8_t)(left >> 14);
        memset(at, 0, left);
        at += left;
    }
    if (t.signer == NULL) return (size_t)(at - out);
    uint8_t signature[WEIR_SIGNATURE_BYTES];
    assert_true(weir_signer_sign(t.signer, out, (size_t)(at - out), signature));
    if (asking->forged) signature[3] ^= 1;
    return (size_t)(weir_wire_put_bytes(at, 15, signature, sizeof signature) - out);
}

static void ask(const struct asking *asking) {
    static uint8_t bytes[64 * 1024];
    size_t size = make(bytes, asking);
    assert_int_equal(send(t.fd, bytes, size, 0), size);
}

enum { MANY = 3000 }; /* operations in one ask, at most */

struct answer {
    size_t size;
    uint64_t nonce, version, threshold, thresholds[MANY];
    uint32_t count;
};

static void read_answer(const uint8_t *bytes, size_t size, struct answer *answer) {
    struct weir_wire wire = weir_wire_of(bytes, size);
    struct weir_wire_field field;
    *answer = (struct answer){.size = size};
    const uint8_t *hmac = NULL;
    for (const uint8_t *start = bytes; weir_wire_next(&wire, &field); start = wire.at) {
        if (field.number == 1) assert_int_equal(field.value, 1);
        if (field.number == 2) answer->nonce = field.value;
        if (field.number == 3) answer->version = field.value;
        if (field.number == 4) answer->threshold = field.value;
        if (field.number == 15) hmac = start;
        if (field.number != 5) continue;
        answer->count = (uint32_t)(field.value / 8);
        assert_true(answer->count <= MANY && field.value % 8 == 0);
        memcpy(answer->thresholds, field.bytes, field.value);
    }
    assert_null(wire.why);
    assert_int_equal(hmac != NULL, t.signer != NULL);
    if (hmac != NULL) assert_true(weir_signer_verify(t.signer, bytes, (size_t)(hmac - bytes), hmac + 2));
}

static void hear(struct answer *answer) {
    uint8_t bytes[64 * 1024];
    struct pollfd ready = {.fd = t.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 10000), 1);
    ssize_t size = recv(t.fd, bytes, sizeof bytes, 0);
    assert_true(size > 0);
    read_answer(bytes, (size_t)size, answer);
}

static void hears_nothing(void) {
    uint8_t byte;
    assert_int_equal(recv(t.fd, &byte, 1, MSG_DONTWAIT), -1);
}

/* ---- the receiver ---- */

static enum weir_status on_spans(void *self, enum weir_receiver_id receiver, struct weir_batch **batch) {
    (void)self, (void)receiver;
    weir_batch_unref(*batch);
    *batch = NULL;
    return WEIR_OK;
}
static void *run(void *loop) {
    weir_loop_run(loop);
    return NULL;
}

static socklen_t address_of(const char *host, uint16_t port, struct sockaddr_storage *out) {
    struct sockaddr_in *v4 = (void *)out;
    struct sockaddr_in6 *v6 = (void *)out;
    memset(out, 0, sizeof *out);
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET, v4->sin_port = htons(port);
        return sizeof *v4;
    }
    assert_int_equal(inet_pton(AF_INET6, host, &v6->sin6_addr), 1);
    v6->sin6_family = AF_INET6, v6->sin6_port = htons(port);
    return sizeof *v6;
}

/* The sender's socket is connected: it hears nobody but whom it speaks to. */
static void speak_to(const char *host) {
    struct sockaddr_storage to;
    socklen_t size = address_of(host, t.port, &to);
    if (t.fd >= 0) close(t.fd);
    t.fd = socket(to.ss_family, SOCK_DGRAM, 0);
    assert_int_equal(connect(t.fd, (struct sockaddr *)&to, size), 0);
}

static uint16_t free_port(const char *host) {
    struct sockaddr_storage at;
    socklen_t size = address_of(host, 0, &at);
    int probe = socket(at.ss_family, SOCK_DGRAM, 0);
    assert_int_equal(bind(probe, (struct sockaddr *)&at, size), 0);
    assert_int_equal(getsockname(probe, (struct sockaddr *)&at, &size), 0);
    close(probe);
    return ntohs(((struct sockaddr_in *)(void *)&at)->sin_port); /* stands at the same place in both */
}

static void open_board(void) {
    memset(&t, 0, sizeof t);
    t.fd = -1, t.sender = 0xabcdef;
    t.names = weir_names_new(256, 16384);
    t.metrics = weir_metrics_new();
    t.steering = weir_steering_new(t.names, t.metrics, &weir_clock_system);
    assert_non_null(t.steering);
}
static void close_board(void) {
    weir_steering_free(t.steering);
    weir_metrics_free(t.metrics);
    weir_names_free(t.names);
}

static void open_receiver(const char *host, bool is_signed) {
    struct weir_error err = {0};
    open_board();
    t.loop = weir_loop_new(&weir_clock_system, &err);
    t.budget.limit_bytes = 64 << 20;
    t.config.aggregate.label_value_bytes_max = 128;
    t.config.datagram = (struct weir_datagram_config){
        .receive_buffer_bytes = 4 << 20, .senders_max = 16, .sender_expiry_ns = 60 * WEIR_S};
    t.port = free_port(host);
    t.config.datagram.listen.port = t.port;
    snprintf(t.config.datagram.listen.host, sizeof t.config.datagram.listen.host, "%s", host);
    char path[] = "/tmp/weir_asks_XXXXXX";
    if (is_signed) {
        int fd = mkstemp(path);
        assert_int_equal(write(fd, key, sizeof key - 1), sizeof key - 1);
        close(fd);
        snprintf(t.config.datagram.hmac_key_file, sizeof t.config.datagram.hmac_key_file, "%s", path);
        assert_int_equal(weir_signer_open(&t.signer, "key", path, &err), WEIR_OK);
    }
    const struct weir_receiver_env env = {.lanes = 1,
                                          .loop = t.loop,
                                          .names = t.names,
                                          .metrics = t.metrics,
                                          .clock = &weir_clock_system,
                                          .steering = t.steering,
                                          .sink = {.budget = &t.budget, .spans = on_spans}};
    if (weir_receive_datagram.open(&t.receiver, &env, &t.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (is_signed) unlink(path);
    assert_int_equal(weir_receive_datagram.start(t.receiver, &err), WEIR_OK);
    assert_int_equal(pthread_create(&t.thread, NULL, run, t.loop), 0);
}

static void close_receiver(void) {
    weir_loop_stop(t.loop);
    pthread_join(t.thread, NULL);
    weir_receive_datagram.stop(t.receiver);
    weir_receive_datagram.close(t.receiver);
    weir_loop_free(t.loop);
    weir_signer_close(t.signer);
    close(t.fd);
    close_board();
}

/* ---- what is answered ---- */

static void it_is_told_what_the_plan_says(void **state) {
    (void)state;
    const char *const operations[] = {"GET /items", "GET /healthz", "GET /users/:id", "GET /users/42", "GET /none"};
    open_receiver("127.0.0.1", false);
    uint64_t version = publish(0.5);
    speak_to("127.0.0.1");
    ask(&(struct asking){operations, 5, .nonce = 0x0102030405060708, .size = 1200});
    struct answer answer;
    hear(&answer);
    assert_true(answer.nonce == 0x0102030405060708 && answer.version == version);
    assert_true(answer.threshold == 1ull << 55);
    assert_int_equal(answer.count, 5);
    assert_true(answer.thresholds[0] == 0);
    assert_true(answer.thresholds[1] == 1ull << 56);
    assert_true(answer.thresholds[2] == (1ull << 56) - (1ull << 53));
    assert_true(answer.thresholds[3] == answer.thresholds[2]);
    assert_true(answer.thresholds[4] == answer.threshold);
    wait_for("answered", 1);

    /* It may have been lost: nobody knows what it has until it says so. */
    assert_true(
        followers_say("\"id\":\"0000000000abcdef\",\"service\":\"cart\",\"side\":\"policy\",\"state\":\"behind\""));
    t.version = version;
    ask(&(struct asking){operations, 1, .nonce = 2, .size = 1200});
    wait_for("current", 1);
    assert_true(followers_say("\"state\":\"current\""));
    hears_nothing();

    /* Another plan, another answer; another service of it changes nothing here. */
    uint64_t other = publish(0.75);
    assert_true(other != version);
    ask(&(struct asking){operations, 1, .nonce = 3, .size = 1200});
    hear(&answer);
    assert_true(answer.version == other && answer.threshold == 1ull << 54);
    wait_for("answered", 2);
    close_receiver();
}

static void who_has_no_row_is_told_the_default(void **state) {
    (void)state;
    open_receiver("::1", false);
    publish(0.5);
    speak_to("::1");
    ask(&(struct asking){.nonce = 1, .size = 1200, .resource = ""});
    struct answer answer;
    hear(&answer);
    assert_int_equal(answer.count, 0);
    assert_true(answer.threshold == 3ull << 54);
    close_receiver();
}

/* Names that are asked for are not kept: whoever sends many cannot fill the table. */
static void names_are_looked_up(void **state) {
    (void)state;
    const char *const operations[] = {"GET /nobody/knows", "GET /users/4711", "", "\xff\xfe"};
    open_receiver("127.0.0.1", false);
    publish(0.5);
    speak_to("127.0.0.1");
    uint32_t before = weir_names_count(t.names);
    ask(&(struct asking){operations, 4, .nonce = 1, .size = 1200});
    struct answer answer;
    hear(&answer);
    assert_int_equal(answer.count, 4);
    assert_int_equal(weir_names_count(t.names), before);
    close_receiver();
}

/* ---- where it comes from ---- */

static void it_comes_from_the_address_that_was_spoken_to(void **state) {
    (void)state;
    static const struct {
        const char *bound, *spoken_to;
    } rows[] = {{"0.0.0.0", "127.0.0.2"}, {"0.0.0.0", "127.0.0.1"}, {"::", "::1"}, {"::", "127.0.0.3"}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        open_receiver(rows[i].bound, i % 2 == 0);
        publish(0.5);
        speak_to(rows[i].spoken_to);
        ask(&(struct asking){.nonce = 9, .size = 1200});
        struct answer answer;
        hear(&answer);
        assert_true(answer.nonce == 9);
        close_receiver();
    }
}

/* The kernel hands over as one message what was sent by one call: each of them is as long as it was. */
static void segments_are_as_long_as_they_were(void **state) {
    (void)state;
    open_receiver("0.0.0.0", false);
    publish(0.5);
    speak_to("127.0.0.2");
    for (uint16_t size = 1199; size <= 1200; size++) {
        uint8_t bytes[3 * 1200];
        for (uint64_t i = 0; i < 3; i++) {
            t.sender = 100 * size + i;
            make(bytes + i * size, &(struct asking){.nonce = i + 1, .size = size});
        }
        struct iovec vector = {bytes, 3u * size};
        union {
            struct cmsghdr header;
            uint8_t bytes[CMSG_SPACE(sizeof size)];
        } control = {0};
        struct msghdr message = {
            .msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof control};
        struct cmsghdr *one = CMSG_FIRSTHDR(&message);
        one->cmsg_level = SOL_UDP, one->cmsg_type = UDP_SEGMENT, one->cmsg_len = CMSG_LEN(sizeof size);
        memcpy(CMSG_DATA(one), &size, sizeof size);
        assert_int_equal(sendmsg(t.fd, &message, 0), 3 * size);
    }
    struct answer answer;
    for (uint64_t i = 0; i < 3; i++) {
        hear(&answer);
        assert_true(answer.nonce == i + 1);
    }
    wait_for("short", 3);
    wait_for("answered", 3);
    hears_nothing();
    close_receiver();
}

/* ---- what is not answered ---- */

static void it_is_never_longer_than_what_asked(void **state) {
    (void)state;
    const char *operations[MANY];
    for (uint32_t i = 0; i < MANY; i++)
        operations[i] = i % 8 == 0 ? "GET /items" : ""; /* a name may be shorter than its threshold */
    static const size_t sizes[] = {1200, 1201, 1207, 1208, 1400, 2000, 40000};
    for (int is_signed = 0; is_signed < 2; is_signed++) {
        open_receiver("127.0.0.1", is_signed == 1);
        publish(0.5);
        speak_to("127.0.0.1");
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            for (uint32_t count = 0; count <= MANY; count += 500) {
                uint8_t bytes[64 * 1024];
                const struct asking asking = {operations, count, .nonce = 1, .size = sizes[i]};
                t.sender++; /* each by another one: nobody is asked too often */
                size_t size = make(bytes, &asking);
                t.sequence--;
                ask(&asking);
                struct answer answer;
                hear(&answer);
                assert_true(answer.size <= size);
                if (answer.count < count) assert_true(size - answer.size < 64); /* as many as find room */
            }
        }
        close_receiver();
    }
}

static void short_and_without_a_nonce(void **state) {
    (void)state;
    open_receiver("127.0.0.1", false);
    publish(0.5);
    speak_to("127.0.0.1");
    ask(&(struct asking){.nonce = 1, .size = 1199});
    wait_for("short", 1);
    ask(&(struct asking){.nonce = 0, .size = 1200});
    wait_for("nonce", 1);
    hears_nothing();
    ask(&(struct asking){.nonce = 1, .size = 1200, .resource = "no message"});
    wait_for("failed", 1);
    hears_nothing();
    close_receiver();
}

static void what_was_taken_before_is_not_answered_again(void **state) {
    (void)state;
    open_receiver("127.0.0.1", true);
    publish(0.5);
    speak_to("127.0.0.1");
    uint8_t bytes[2048];
    struct answer answer;
    size_t size = make(bytes, &(struct asking){.nonce = 1, .size = 1200});
    assert_int_equal(send(t.fd, bytes, size, 0), size);
    hear(&answer);
    for (int i = 0; i < 20; i++) { /* over more than the gap that any sender has to keep */
        assert_int_equal(send(t.fd, bytes, size, 0), size);
        usleep(10000);
    }
    ask(&(struct asking){.nonce = 2, .size = 1200}); /* and a new one is */
    hear(&answer);
    assert_true(answer.nonce == 2);
    wait_for("answered", 2);
    hears_nothing();
    close_receiver();
}

static void unsigned_and_forged(void **state) {
    (void)state;
    open_receiver("127.0.0.1", true);
    publish(0.5);
    speak_to("127.0.0.1");
    ask(&(struct asking){.nonce = 1, .size = 1200, .forged = true});
    wait_for("unsigned", 1);
    struct weir_signer *signer = t.signer;
    t.signer = NULL;
    ask(&(struct asking){.nonce = 2, .size = 1200});
    wait_for("unsigned", 2);
    t.signer = signer;
    hears_nothing();
    ask(&(struct asking){.nonce = 3, .size = 1200});
    struct answer answer;
    hear(&answer);
    assert_true(answer.nonce == 3);
    close_receiver();
}

static void without_a_policy(void **state) {
    (void)state;
    open_receiver("127.0.0.1", false);
    speak_to("127.0.0.1");
    ask(&(struct asking){.nonce = 1, .size = 1200});
    wait_for("no_policy", 1);
    hears_nothing();
    close_receiver();
}

/* ---- how often, by a clock of our own ---- */

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
        cmocka_unit_test(it_is_told_what_the_plan_says),
        cmocka_unit_test(who_has_no_row_is_told_the_default),
        cmocka_unit_test(names_are_looked_up),
        cmocka_unit_test(it_comes_from_the_address_that_was_spoken_to),
        cmocka_unit_test(segments_are_as_long_as_they_were),
        cmocka_unit_test(it_is_never_longer_than_what_asked),
        cmocka_unit_test(short_and_without_a_nonce),
        cmocka_unit_test(what_was_taken_before_is_not_answered_again),
        cmocka_unit_test(unsigned_and_forged),
        cmocka_unit_test(without_a_policy),
        cmocka_unit_test(one_sender_has_a_bound),
        cmocka_unit_test(asks_for_many_operations_cost_more),
        cmocka_unit_test(a_flood_is_answered_up_to_a_bound),
        cmocka_unit_test(a_copy_on_another_lane),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
