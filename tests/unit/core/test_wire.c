/* Protobuf's wire format: what is read, where reading stops, and that what is written reads back. */
#include "collector/core/wire.h"
#include "tests/unit/core/unit.h"

struct varint_row {
    const char *bytes;
    size_t size;
    uint64_t value;
    const char *why; /* NULL: it is read */
};
static const struct varint_row varints[] = {
    {"\x00", 1, 0, NULL},
    {"\x7f", 1, 127, NULL},
    {"\x80\x01", 2, 128, NULL},
    {"\x96\x01", 2, 150, NULL},
    {"\x80\x00", 2, 0, NULL}, /* longer than it need be: allowed */
    {"\xff\xff\xff\xff\x0f", 5, UINT32_MAX, NULL},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 10, UINT64_MAX, NULL},
    {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 10, 1ull << 63, NULL},
    {"", 0, 0, "truncated varint"},
    {"\x80", 1, 0, "truncated varint"},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff", 9, 0, "truncated varint"},
    {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10, 0, "varint longer than 64 bits"},
    {"\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", 11, 0, "varint longer than 64 bits"},
};

static void varint_limits(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(varints); i++) {
        const struct varint_row *row = &varints[i];
        uint64_t value = 4711;
        struct weir_wire wire = weir_wire_of((const uint8_t *)row->bytes, row->size);
        bool read = weir_wire_varint(&wire, &value);
        if (row->why == NULL) {
            if (!read || value != row->value || wire.at != wire.end) fail_msg("row %zu", i);
        } else {
            if (read) fail_msg("row %zu was read", i);
            assert_string_equal(wire.why, row->why);
            assert_int_equal(value, 4711);
        }
    }
}

static void varints_read_back(void **state) {
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int off = -1; off <= 1; off++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)(int64_t)off, read = 0;
            uint8_t bytes[10];
            size_t size = (size_t)(weir_wire_put_varint(bytes, value) - bytes);
            assert_int_equal(size, weir_wire_varint_size(value));
            struct weir_wire wire = weir_wire_of(bytes, size);
            assert_true(weir_wire_varint(&wire, &read));
            assert_true(read == value);
            wire = weir_wire_of(bytes, size - 1); /* each cut is seen */
            assert_false(weir_wire_varint(&wire, &read));
        }
    }
}

static void fields_read_back(void **state) {
    (void)state;
    uint8_t bytes[64], *end = bytes;
    end = weir_wire_put_uint(end, 1, 150);
    end = weir_wire_put_bytes(end, 2, "weir", 4);
    end = weir_wire_put_fixed64(end, 15, 0x0123456789abcdefull);
    end = weir_wire_put_bytes(end, 16, NULL, 0);
    end = weir_wire_put_key(end, (1u << 29) - 1, WEIR_WIRE_FIXED32);
    memcpy(end, "\x01\x02\x03\x04", 4);
    end += 4;

    struct weir_wire_field field;
    struct weir_wire wire = weir_wire_of(bytes, (size_t)(end - bytes));
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, 1);
    assert_int_equal(field.type, WEIR_WIRE_VARINT);
    assert_int_equal(field.value, 150);
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, 2);
    assert_int_equal(field.value, 4);
    assert_memory_equal(field.bytes, "weir", 4);
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, 15);
    assert_true(field.value == 0x0123456789abcdefull);
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, 16);
    assert_int_equal(field.value, 0);
    assert_true(weir_wire_next(&wire, &field));
    assert_int_equal(field.number, (1u << 29) - 1);
    assert_int_equal(field.value, 0x04030201);
    assert_false(weir_wire_next(&wire, &field));
    assert_null(wire.why);
    assert_ptr_equal(wire.at, end);
}

static void every_cut_ends_inside(void **state) {
    (void)state;
    uint8_t bytes[64], *end = bytes;
    end = weir_wire_put_uint(end, 1, 1u << 20);
    end = weir_wire_put_bytes(end, 2, "weir", 4);
    end = weir_wire_put_fixed64(end, 15, 7);
    size_t size = (size_t)(end - bytes);
    unsigned clean = 0;
    for (size_t cut = 0; cut <= size; cut++) {
        uint8_t *exact = test_malloc(cut + 1); /* what is read behind it, the sanitizer sees */
        memcpy(exact, bytes, cut);
        struct weir_wire_field field;
        struct weir_wire wire = weir_wire_of(exact, cut);
        while (weir_wire_next(&wire, &field)) {
        }
        assert_true(wire.at <= wire.end);
        clean += wire.why == NULL;
        test_free(exact);
    }
    assert_int_equal(clean, 4); /* nothing, and behind each of three fields */
}

struct broken_row {
    const char *bytes;
    size_t size;
    const char *why;
};
static const struct broken_row broken[] = {
    {"\x0b", 1, "wire type is not one of 0, 1, 2, 5"}, /* group start */
    {"\x0c", 1, "wire type is not one of 0, 1, 2, 5"}, /* group end */
    {"\x0e", 1, "wire type is not one of 0, 1, 2, 5"},
    {"\x0f", 1, "wire type is not one of 0, 1, 2, 5"},
    {"\x00\x01", 2, "field number out of range"},
    {"\x80\x80\x80\x80\x10\x00", 6, "field number out of range"}, /* 2^29 */
    {"\x12\x05weir", 6, "length past the end of its message"},
    {"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", 11, "length past the end of its message"},
    {"\x12", 1, "truncated varint"},
    {"\x09\x00\x00\x00\x00\x00\x00\x00", 8, "truncated fixed-size field"},
    {"\x0d\x00\x00\x00", 4, "truncated fixed-size field"},
};

static void broken_bytes(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        struct weir_wire_field field;
        struct weir_wire wire = weir_wire_of((const uint8_t *)broken[i].bytes, broken[i].size);
        if (weir_wire_next(&wire, &field)) fail_msg("row %zu was read", i);
        if (wire.why == NULL || strcmp(wire.why, broken[i].why) != 0) fail_msg("row %zu: %s", i, wire.why);
    }
}

static void numbers(void **state) {
    (void)state;
    uint64_t bits;
    double value = -1234.5;
    memcpy(&bits, &value, 8);
    assert_true(weir_wire_double(bits) == -1234.5);
    assert_int_equal(weir_wire_zigzag(0), 0);
    assert_int_equal(weir_wire_zigzag(1), -1);
    assert_int_equal(weir_wire_zigzag(2), 1);
    assert_true(weir_wire_zigzag(UINT64_MAX) == INT64_MIN);
    assert_true(weir_wire_zigzag(UINT64_MAX - 1) == INT64_MAX);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(varint_limits),    cmocka_unit_test(varints_read_back),
        cmocka_unit_test(fields_read_back), cmocka_unit_test(every_cut_ends_inside),
        cmocka_unit_test(broken_bytes),     cmocka_unit_test(numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
