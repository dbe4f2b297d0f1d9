#include "collector/core/buffer.h"
#include "tests/unit/core/unit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void holds(const struct weir_buffer *buffer, const char *text) {
    if (buffer->failed) fail_msg("failed, wanted %s", text);
    if (buffer->size != strlen(text) || memcmp(buffer->bytes, text, buffer->size) != 0) {
        fail_msg("got %.*s, wanted %s", (int)buffer->size, (const char *)buffer->bytes, text);
    }
}

static void all_that_is_put(void **state) {
    (void)state;
    struct weir_buffer buffer = {0};
    weir_buffer_text(&buffer, "a");
    weir_buffer_byte(&buffer, ' ');
    weir_buffer_put(&buffer, "bc", 2);
    weir_buffer_put(&buffer, NULL, 0);
    weir_buffer_u64(&buffer, 0);
    weir_buffer_u64(&buffer, UINT64_MAX);
    weir_buffer_printf(&buffer, " %s=%d", "k", -1);
    holds(&buffer, "a bc018446744073709551615 k=-1");
    weir_buffer_clear(&buffer);
    for (int i = 0; i < 10000; i++)
        weir_buffer_printf(&buffer, "%04d", i % 10000);
    assert_int_equal(buffer.size, 40000);
    assert_memory_equal(buffer.bytes + 39996, "9999", 4);
    weir_buffer_free(&buffer);
    assert_null(buffer.bytes);
}

static void the_first_failure_sticks(void **state) {
    (void)state;
    struct weir_buffer buffer = {.limit = 1000};
    char block[600] = {0};
    weir_buffer_put(&buffer, block, sizeof block);
    assert_false(buffer.failed);
    weir_buffer_put(&buffer, block, 401);
    assert_true(buffer.failed);
    assert_int_equal(buffer.size, 600);
    weir_buffer_byte(&buffer, 'x'); /* would fit */
    assert_int_equal(buffer.size, 600);
    assert_true(buffer.capacity <= 1000);
    weir_buffer_clear(&buffer);
    weir_buffer_put(&buffer, block, 600);
    weir_buffer_put(&buffer, block, 400);
    assert_false(buffer.failed);
    assert_int_equal(buffer.size, 1000);
    assert_false(weir_buffer_room(&buffer, SIZE_MAX)); /* the sum does not wrap */
    weir_buffer_free(&buffer);
}

static void doubles_read_back(void **state) {
    (void)state;
    static const struct {
        double value;
        const char *text;
    } rows[] = {
        {0, "0"},     {1, "1"},           {-1, "-1"},
        {0.1, "0.1"}, {0.005, "0.005"},   {1e15, "1000000000000000"},
        {NAN, "NaN"}, {INFINITY, "+Inf"}, {-INFINITY, "-Inf"},
        {2.5, "2.5"}, {1e300, "1e+300"},  {1.0 / 3, "0.3333333333333333"},
    };
    struct weir_buffer buffer = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        weir_buffer_clear(&buffer);
        weir_buffer_double(&buffer, rows[i].value);
        holds(&buffer, rows[i].text);
    }
    uint64_t random = 88172645463325252ull;
    for (int i = 0; i < 20000; i++) {
        double value, back;
        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
        memcpy(&value, &random, sizeof value);
        if (isnan(value)) continue;
        weir_buffer_clear(&buffer);
        weir_buffer_double(&buffer, value);
        weir_buffer_byte(&buffer, 0);
        back = strtod((const char *)buffer.bytes, NULL);
        assert_true(back == value);
    }
    weir_buffer_free(&buffer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_that_is_put),
        cmocka_unit_test(the_first_failure_sticks),
        cmocka_unit_test(doubles_read_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
