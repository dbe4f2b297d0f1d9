/* Random requests, packed by protobuf-c and then damaged: the walker and protobuf-c's own decoder agree on each of
 * them. */
#include "collector/core/buffer.h"
#include "collector/core/wire.h"
#include "tests/unit/decode/otlp_reference.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

#include <cmocka.h>

enum { REQUESTS = 20000, DAMAGED = 12 /* variants of each */ };

static uint64_t seed;

static uint64_t random_u64(void) {
    seed += 0x9e3779b97f4a7c15ull; /* splitmix64 */
    uint64_t z = seed;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static unsigned pick(unsigned below) {
    return (unsigned)(random_u64() % below);
}

/* ---- making: fields in wire form, in a random order where protobuf allows it ---- */

static void put_field(struct weir_buffer *out, uint32_t number, const void *bytes, size_t size) {
    weir_buffer_room(out, size + 16);
    uint8_t *end = weir_wire_put_bytes(out->bytes + out->size, number, bytes, size);
    out->size = (size_t)(end - out->bytes);
}

static void put_text(struct weir_buffer *out, uint32_t number, const char *text) {
    put_field(out, number, text, strlen(text));
}

static void put_fixed(struct weir_buffer *out, uint32_t number, uint64_t value) {
    weir_buffer_room(out, 16);
    out->size = (size_t)(weir_wire_put_fixed64(out->bytes + out->size, number, value) - out->bytes);
}

static void put_number(struct weir_buffer *out, uint32_t number, uint64_t value) {
    weir_buffer_room(out, 24);
    out->size = (size_t)(weir_wire_put_uint(out->bytes + out->size, number, value) - out->bytes);
}

static void put_inside(struct weir_buffer *out, uint32_t number, struct weir_buffer *inside) {
    put_field(out, number, inside->bytes != NULL ? inside->bytes : (const uint8_t *)"", inside->size);
    weir_buffer_free(inside);
}

static const char *const texts[] = {"",
                                    "GET /users/42",
                                    "checkout",
                                    "a",
                                    "na\xc3\xafve \xe2\x9c\x93",
                                    "500",
                                    "404",
                                    "2.5",
                                    "ot=th:8;rv:01234567890123",
                                    "x=1,ot=th:c",
                                    "ot=rv:0123456789abc;th:fd70a4;th:x , ot=th:1",
                                    "0e3ee0d5-0c0d-a1b2-8d5e-6d7e8f901234",
                                    "1e3x",
                                    "x\xc3",
                                    "\xff\xfe",
                                    "0123456789012345678901234567890123456789"};
static const char *const keys[] = {"http.status_code",
                                   "http.response.status_code",
                                   "peer.service",
                                   "service.name",
                                   "weir.prior_weight",
                                   "sampling.priority",
                                   "guid:x-request-id",
                                   "k",
                                   "upstream_cluster",
                                   "server.address",
                                   "net.peer.ip",
                                   "network.peer.address",
                                   "db.system",
                                   "http.status_codf",
                                   ""};
#define ONE_OF(array) array[pick(sizeof(array) / sizeof(array)[0])]

static void make_value(struct weir_buffer *out, unsigned depth);

static void make_pair(struct weir_buffer *out, unsigned depth) {
    struct weir_buffer value = {0};
    if (pick(10) > 0) put_text(out, 1, ONE_OF(keys));
    if (pick(10) > 0) {
        make_value(&value, depth + 1);
        put_inside(out, 2, &value);
    }
}

static void make_value(struct weir_buffer *out, unsigned depth) {
    struct weir_buffer inside = {0}, element = {0};
    unsigned kind = pick(depth < 5 ? 8 : 5);
    switch (kind) {
    case 0: break;
    case 1: put_number(out, 3, pick(2) ? pick(700) : random_u64()); break;
    case 2: put_fixed(out, 4, random_u64()); break;
    case 3: put_number(out, 2, pick(2)); break;
    case 5:
    case 6:
        for (unsigned i = pick(4); i > 0; i--) {
            if (kind == 5) make_value(&element, depth + 1);
            if (kind == 6) make_pair(&element, depth + 1);
            put_inside(&inside, 1, &element);
        }
        put_inside(out, (uint32_t)kind, &inside);
        break;
    case 7: put_field(out, 7, "\x00\xff\x80", pick(4)); break;
    default: put_text(out, 1, ONE_OF(texts));
    }
}

static void put_id(struct weir_buffer *out, uint32_t number, size_t size) {
    uint8_t id[16];
    uint64_t a = random_u64(), b = random_u64();
    memcpy(id, &a, 8);
    memcpy(id + 8, &b, 8);
    if (pick(25) == 0) memset(id, 0, sizeof id);
    put_field(out, number, id, pick(25) == 0 ? pick(17) : size);
}

static void make_span(struct weir_buffer *out) {
    struct weir_buffer inside = {0}, pair = {0};
    for (unsigned i = 0, count = 8 + pick(12); i < count; i++) {
        switch (i < 5 ? i : pick(12)) {
        case 0: put_id(out, 1, 16); break;
        case 1: put_id(out, 2, 8); break;
        case 2: put_text(out, 5, ONE_OF(texts)); break;
        case 3: put_fixed(out, 7, pick(4) ? 1700000000000000000ull + pick(1000) : random_u64()); break;
        case 4: put_fixed(out, 8, 1700000000000000000ull + pick(5000)); break;
        case 5: put_id(out, 4, 8); break;
        case 6: put_number(out, 6, pick(7) + (pick(4) ? 0 : 1ull << 32)); break;
        case 7: put_text(out, 3, ONE_OF(texts)); break;
        case 8: /* an event or a link */
            if (pick(2)) put_fixed(&inside, 1, random_u64());
            put_text(&inside, 2, ONE_OF(texts));
            make_pair(&pair, 0);
            put_inside(&inside, 3, &pair);
            put_inside(out, 11, &inside);
            break;
        case 9:
            if (pick(2)) put_number(&inside, 3, pick(4));
            if (pick(2)) put_text(&inside, 2, ONE_OF(texts));
            put_inside(out, 15, &inside);
            break;
        case 10: put_number(out, 10 + 2 * pick(3), pick(1000)); break;
        default: make_pair(&pair, 0); put_inside(out, 9, &pair);
        }
    }
    if (pick(8) == 0) put_text(out, 99, "unknown");
}

static void make_attributes(struct weir_buffer *out, uint32_t number) {
    struct weir_buffer pair = {0};
    for (unsigned i = pick(4); i > 0; i--) {
        make_pair(&pair, 0);
        put_inside(out, number, &pair);
    }
}

static void make_request(struct weir_buffer *out) {
    for (unsigned r = pick(4); r > 0; r--) {
        struct weir_buffer resource = {0}, inside = {0};
        bool late = pick(3) == 0; /* the resource behind its spans */
        make_attributes(&inside, 1);
        if (!late) put_inside(&resource, 1, &inside);
        for (unsigned s = pick(3); s > 0; s--) {
            struct weir_buffer scope = {0}, span = {0};
            if (pick(2)) {
                put_text(&span, 1, ONE_OF(texts));
                make_attributes(&span, 3);
                put_inside(&scope, 1, &span);
            }
            for (unsigned i = pick(5); i > 0; i--) {
                make_span(&span);
                put_inside(&scope, 2, &span);
            }
            if (pick(3) == 0) put_text(&scope, 3, ONE_OF(texts));
            put_inside(&resource, 2, &scope);
        }
        if (late) put_inside(&resource, 1, &inside);
        put_inside(out, 1, &resource);
    }
}

/* ---- damaging ---- */

static void damage(struct weir_buffer *bytes) {
    if (bytes->size == 0) return;
    size_t at = random_u64() % bytes->size;
    switch (pick(5)) {
    case 0: bytes->bytes[at] ^= (uint8_t)(1u << pick(8)); break;
    case 1: bytes->bytes[at] = (uint8_t)random_u64(); break;
    case 2: bytes->size = at; break;
    case 3: /* a byte more */
        weir_buffer_room(bytes, 1);
        memmove(bytes->bytes + at + 1, bytes->bytes + at, bytes->size - at);
        bytes->bytes[at] = (uint8_t)random_u64();
        bytes->size++;
        break;
    default: /* a byte less */ memmove(bytes->bytes + at, bytes->bytes + at + 1, bytes->size - at - 1); bytes->size--;
    }
}

static void both_agree(void **state) {
    (void)state;
    unsigned accepted_whole = 0, accepted_damaged = 0;
    struct weir_names *names = weir_names_new(4096, 1 << 20);
    struct weir_otlp *otlp = weir_otlp_new(names);
    for (unsigned i = 0; i < REQUESTS; i++) {
        struct weir_buffer request = {0}, copy = {0};
        seed = i;
        make_request(&request);
        for (unsigned variant = 0; variant <= DAMAGED; variant++) {
            bool accepted;
            weir_buffer_clear(&copy);
            weir_buffer_room(&copy, request.size + 16);
            if (request.size > 0) weir_buffer_put(&copy, request.bytes, request.size);
            for (unsigned n = variant == 0 ? 0 : 1 + variant % 3; n > 0; n--)
                damage(&copy);
            const char *differs = ref_check(otlp, names, copy.bytes, copy.size, &accepted);
            if (differs != NULL) fail_msg("request %u, variant %u: %s", i, variant, differs);
            if (variant == 0) {
                accepted_whole += accepted;
            } else {
                accepted_damaged += accepted;
            }
        }
        weir_buffer_free(&request);
        weir_buffer_free(&copy);
    }
    assert_int_equal(accepted_whole, REQUESTS);
    /* Of the damaged ones enough of both kinds were there for this to have said something. */
    assert_in_range(accepted_damaged, REQUESTS, REQUESTS * DAMAGED - REQUESTS);
    weir_otlp_free(otlp);
    weir_names_free(names);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(both_agree)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
