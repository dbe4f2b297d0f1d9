/* asking.h - a policy, and senders that ask what to sample of it. */
#ifndef WEIR_TESTS_RECEIVE_ASKING_H
#define WEIR_TESTS_RECEIVE_ASKING_H
#include "collector/config/config.h"
#include "collector/receive/asks.h"
#include "collector/sample/policy.h"
#include "collector/sample/steering.h"

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

static inline uint32_t name_of(const char *text) {
    return weir_names_intern(t.names, text, strlen(text));
}

static inline uint64_t publish(double cart) {
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

static inline bool followers_say(const char *text) {
    struct weir_buffer page = {0};
    weir_steering_write(t.steering, &page);
    weir_buffer_byte(&page, 0);
    bool found = strstr((const char *)page.bytes, text) != NULL;
    weir_buffer_free(&page);
    return found;
}

static inline uint64_t asks(const char *result) {
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

static inline void wait_for(const char *result, uint64_t count) {
    for (int i = 0; i < 12000 && asks(result) < count; i++)
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
static inline size_t make(uint8_t *out, const struct asking *asking) {
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

static inline void ask(const struct asking *asking) {
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

static inline void read_answer(const uint8_t *bytes, size_t size, struct answer *answer) {
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

static inline void hear(struct answer *answer) {
    uint8_t bytes[64 * 1024];
    struct pollfd ready = {.fd = t.fd, .events = POLLIN};
    assert_int_equal(poll(&ready, 1, 60000), 1);
    ssize_t size = recv(t.fd, bytes, sizeof bytes, 0);
    assert_true(size > 0);
    read_answer(bytes, (size_t)size, answer);
}

static inline void hears_nothing(void) {
    uint8_t byte;
    assert_int_equal(recv(t.fd, &byte, 1, MSG_DONTWAIT), -1);
}

static inline void open_board(void) {
    memset(&t, 0, sizeof t);
    t.fd = -1, t.sender = 0xabcdef;
    t.names = weir_names_new(256, 16384);
    t.metrics = weir_metrics_new();
    t.steering = weir_steering_new(t.names, t.metrics, &weir_clock_system);
    assert_non_null(t.steering);
}
static inline void close_board(void) {
    weir_steering_free(t.steering);
    weir_metrics_free(t.metrics);
    weir_names_free(t.names);
}
#endif
