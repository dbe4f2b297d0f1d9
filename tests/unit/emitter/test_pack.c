/* Datagrams from parts of any size: read back, they hold all parts in order, under one number after the other. */
#include "collector/core/wire.h"
#include "collector/decode/datagram.h"
#include "emitter/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static const uint8_t resource[] = "\x2a\x18\x0a\x16\x0a\x0cservice.name\x12\x06\x0a\x04test";

static struct {
    struct packer packer;
    struct signing signing;
    uint64_t seed, random, sequence, calls;
    uint32_t parts, asks; /* that came back */
} t;

static uint64_t draw(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Part n: a field nobody knows, of a size that hangs on n and the seed. */
static size_t part_size(uint32_t n) {
    uint64_t state = t.seed * 0x9e3779b97f4a7c15u + n + 1;
    draw(&state);
    size_t most = pack_room_max(t.packer.datagram_bytes, t.packer.resource_size) - 3;
    return draw(&state) % 4 ? 4 + draw(&state) % 500 : 4 + draw(&state) % (most - 3);
}
static uint8_t *put_part(uint8_t *at, uint32_t n) {
    size_t size = part_size(n);
    at = weir_wire_put_varint(weir_wire_put_key(at, 13, WEIR_WIRE_BYTES), size);
    memset(at, (int)n & 0xff, size);
    memcpy(at, &n, 4);
    return at + size;
}

static void read_datagram(const uint8_t *bytes, size_t size, bool last) {
    struct weir_datagram datagram;
    struct weir_error err = {0};
    struct weir_wire_field field;
    if (weir_datagram_read(bytes, size, &datagram, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_int_equal(datagram.sender, 0x1122334455667788);
    assert_int_equal(datagram.start_ns, 99);
    assert_int_equal(datagram.sequence, ++t.sequence);
    assert_int_equal(datagram.resource_size, sizeof resource - 3);
    assert_true(size == t.packer.datagram_bytes || (last && size < t.packer.datagram_bytes));
    assert_int_equal(datagram.hmac != NULL, t.packer.signing != NULL);
    if (datagram.hmac != NULL) assert_true(signing_verify(&t.signing, bytes, datagram.signed_size, datagram.hmac));
    struct weir_wire wire = weir_wire_of(bytes, size);
    bool asks = false;
    while (weir_wire_next(&wire, &field)) {
        asks |= field.number == 10;
        if (field.number != 13) continue;
        uint32_t n;
        memcpy(&n, field.bytes, 4);
        assert_int_equal(n, t.parts++);
        assert_int_equal(field.value, part_size(n));
        assert_int_equal(field.bytes[field.value - 1], field.value > 4 ? n & 0xff : n >> 24);
    }
    assert_int_equal(datagram.policy_version, asks ? 5 : 1ull << 63);
    if (asks) assert_int_equal(size, t.packer.datagram_bytes); /* an answer may be as long */
    t.asks += asks;
}

static void take(void *self, const struct packer *packer) {
    assert_ptr_equal(self, &t);
    t.calls++;
    for (uint32_t i = 0; i < packer->count; i++) {
        bool last = i + 1 == packer->count;
        read_datagram(packer->bytes + i * packer->datagram_bytes, last ? packer->last : packer->datagram_bytes, last);
    }
}

static void play(size_t datagram_bytes, bool is_signed, uint64_t seed) {
    static const uint8_t ask[] = "\x52\x09\x09\x01\x02\x03\x04\x05\x06\x07\x08";
    uint32_t parts = 0, asks = 0;
    t.seed = seed, t.sequence = 0, t.parts = t.asks = 0, t.calls = 0;
    t.packer = (struct packer){.datagram_bytes = datagram_bytes,
                               .signing = is_signed ? &t.signing : NULL,
                               .resource = resource,
                               .resource_size = sizeof resource - 1,
                               .sender = 0x1122334455667788,
                               .start_ns = 99,
                               .policy_version = 1ull << 63, /* the longest that a head can be */
                               .send = take,
                               .self = &t};
    assert_true(pack_open(&t.packer));
    pack_flush(&t.packer); /* nothing: nothing is sent */
    assert_int_equal(t.calls, 0);
    uint64_t random = seed;
    for (unsigned turn = 0; turn < 3000; turn++) {
        uint64_t what = draw(&random) % 500;
        if (what == 0) {
            pack_flush(&t.packer);
        } else if (what == 1) {
            pack_ask(&t.packer, 5, ask, sizeof ask - 1), asks++;
        } else {
            uint8_t *at = pack_part(&t.packer, part_size(parts) + 3);
            pack_wrote(&t.packer, put_part(at, parts++));
        }
    }
    pack_flush(&t.packer);
    assert_int_equal(t.parts, parts);
    assert_int_equal(t.asks, asks);
    assert_true(asks > 0 && t.calls > 1);
    pack_close(&t.packer);
}

static void parts_of_any_size(void **state) {
    (void)state;
    static const size_t sizes[] = {1200, 1400, 1472, 9000, 65507};
    for (uint64_t seed = 1; seed <= 10; seed++) {
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            play(sizes[i], seed % 2 == 0, seed * 31 + i);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(parts_of_any_size)};
    signing_begin(&t.signing, "sixteen bytes or more", 21);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
