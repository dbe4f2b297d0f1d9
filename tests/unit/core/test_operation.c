#include "collector/core/operation.h"
#include "tests/unit/core/unit.h"

#include <string.h>

static const char *const rows[][2] = {
    {"", ""},
    {"GET", "GET"},
    {"grpc.health.v1.Health/Check", "grpc.health.v1.Health/Check"},
    {"GET /", "GET /"},
    {"/users/42", "/users/{id}"},
    {"GET /users/42/cards/9f1c2d3e-0000-4000-8000-00000000beef?x=1", "GET /users/{id}/cards/{id}"},
    {"/users/42#top", "/users/{id}"},
    {"/users/42/", "/users/{id}/"},
    {"//42//", "//{id}//"},
    {"/v1/users", "/v1/users"},
    {"/1/2/3", "/{id}/{id}/{id}"},
    {"/2024-01-31/report", "/{id}/report"},
    {"/10.0.0.7/x", "/{id}/x"},
    {"/555_12", "/{id}"},
    {"/-/reload", "/-/reload"},                 /* no digit */
    {"/deadbeefdeadbeef", "/deadbeefdeadbeef"}, /* no digit: may be a word */
    {"/deadbeefdeadbee0", "/{id}"},
    {"/deadbeefdeadbe0", "/deadbeefdeadbe0"}, /* 15 */
    {"/DEADBEEF00000000DEADBEEF00000000", "/{id}"},
    {"/9F1C2D3E-0000-4000-8000-00000000BEEF", "/{id}"},
    {"/9f1c2d3e-0000-4000-8000-00000000beeg", "/9f1c2d3e-0000-4000-8000-00000000beeg"},
    {"/9f1c2d3e0-000-4000-8000-00000000beef", "/9f1c2d3e0-000-4000-8000-00000000beef"},
    {"/item42", "/item42"},
    {"42", "42"}, /* no path */
    {"why? 42", "why? 42"},
    {"a?b /users/42", "a?b /users/{id}"}, /* the question came before the path */
    {"POST /pay/7 HTTP", "POST /pay/{id} HTTP"},
};

static void rows_hold(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        char out[128];
        size_t wrote = weir_operation_template((const uint8_t *)rows[i][0], strlen(rows[i][0]), out, sizeof out);
        if (wrote != strlen(rows[i][1]) || memcmp(out, rows[i][1], wrote) != 0) {
            fail_msg("%s -> %.*s, wanted %s", rows[i][0], (int)wrote, out, rows[i][1]);
        }
    }
    assert_int_equal(weir_operation_template(NULL, 0, NULL, 0), 0);
}

static void stays_inside_out(void **state) {
    (void)state;
    static const char name[] = "/1/2/3/4/5/word/0123456789abcdef/?q";
    for (size_t room = 0; room < 64; room++) {
        char *out = test_malloc(room + 1);
        size_t wrote = weir_operation_template((const uint8_t *)name, sizeof name - 1, out, room);
        assert_true(wrote <= room);
        assert_memory_equal(out, "/{id}/{id}/{id}/{id}/{id}/word/{id}/", wrote);
        test_free(out);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_hold),
        cmocka_unit_test(stays_inside_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
