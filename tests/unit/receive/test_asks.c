/* Who asks what to sample, over real sockets: what is answered, from where, and what is not. How often:
 * test_asks_bounds.c. */
#define _GNU_SOURCE 1
#include "collector/receive/udp.h"
#include "tests/unit/free_port.h"
#include "tests/unit/receive/asking.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

static const char key[] = "a key of twenty bytes";

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

/* The sender's socket is connected: it hears nobody but whom it speaks to. */
static void speak_to(const char *host) {
    struct sockaddr_storage to;
    socklen_t size = address_of(host, t.port, &to);
    if (t.fd >= 0) close(t.fd);
    t.fd = socket(to.ss_family, SOCK_DGRAM, 0);
    assert_int_equal(connect(t.fd, (struct sockaddr *)&to, size), 0);
}

static void open_receiver(const char *host, bool is_signed) {
    struct weir_error err = {0};
    open_board();
    t.loop = weir_loop_new(&weir_clock_system, &err);
    t.budget.limit_bytes = 64 << 20;
    t.config.aggregate.label_value_bytes_max = 128;
    t.config.datagram = (struct weir_datagram_config){
        .receive_buffer_bytes = 4 << 20, .senders_max = 16, .sender_expiry_ns = 60 * WEIR_S};
    t.port = free_port(host, SOCK_DGRAM);
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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
