#include "collector/core/names.h"
#include "collector/core/origin.h"
#include "tests/unit/core/unit.h"

#include <stdio.h>
#include <string.h>

static struct weir_origin_parts parts_of(const char *resource, const char *scope, const char *url,
                                         const char *scope_url) {
    return (struct weir_origin_parts){
        .resource = (const uint8_t *)resource,
        .resource_size = (uint32_t)strlen(resource),
        .scope = (const uint8_t *)scope,
        .scope_size = (uint32_t)strlen(scope),
        .resource_url = (const uint8_t *)url,
        .resource_url_size = (uint32_t)strlen(url),
        .scope_url = (const uint8_t *)scope_url,
        .scope_url_size = (uint32_t)strlen(scope_url),
    };
}

static void same_bytes_same_origin(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(64);
    char resource[] = "resource";
    struct weir_origin_parts parts = parts_of(resource, "scope", "http://r", "http://s");
    int is_new = 7;
    struct weir_origin *first = weir_origins_get(table, &parts, &is_new);
    assert_int_equal(is_new, 1);
    assert_int_equal(first->service, WEIR_NAME_NONE);
    first->service = 42;
    struct weir_origin *second = weir_origins_get(table, &parts, &is_new);
    assert_int_equal(is_new, 0);
    assert_ptr_equal(first, second);
    memset(resource, 'x', sizeof resource - 1); /* held by itself */
    assert_memory_equal(first->parts.resource, "resource", 8);
    assert_memory_equal(first->parts.scope, "scope", 5);
    assert_memory_equal(first->parts.resource_url, "http://r", 8);
    assert_memory_equal(first->parts.scope_url, "http://s", 8);
    weir_origin_unref(first);
    weir_origin_unref(second);
    weir_origin_unref(NULL);
    weir_origins_free(table);
}

static void the_same_text_cut_elsewhere_is_another(void **state) {
    (void)state;
    static const char *const cuts[][4] = {
        {"ab", "", "", ""}, {"", "ab", "", ""}, {"", "", "ab", ""},
        {"", "", "", "ab"}, {"a", "b", "", ""}, {"", "", "", ""},
    };
    struct weir_origins *table = weir_origins_new(1024);
    struct weir_origin *got[COUNT_OF(cuts)];
    for (size_t i = 0; i < COUNT_OF(cuts); i++) {
        int is_new;
        struct weir_origin_parts parts = parts_of(cuts[i][0], cuts[i][1], cuts[i][2], cuts[i][3]);
        got[i] = weir_origins_get(table, &parts, &is_new);
        assert_int_equal(is_new, 1);
        for (size_t j = 0; j < i; j++)
            assert_ptr_not_equal(got[i], got[j]);
    }
    for (size_t i = 0; i < COUNT_OF(cuts); i++)
        weir_origin_unref(got[i]);
    weir_origins_free(table);
}

static void many_are_known_at_once(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(1024);
    unsigned known = 0;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < 100; i++) {
            char resource[32];
            int is_new;
            snprintf(resource, sizeof resource, "resource %02d", i);
            struct weir_origin_parts parts = parts_of(resource, "scope", "", "");
            weir_origin_unref(weir_origins_get(table, &parts, &is_new));
            if (pass == 1) known += !is_new;
        }
    }
    assert_in_range(known, 80, 100); /* of 100 in 1,024 places a few share one */
    weir_origins_free(table);
}

static void what_is_held_outlives_the_table(void **state) {
    (void)state;
    enum { MANY = 500 };
    struct weir_origins *table = weir_origins_new(16);
    struct weir_origin *held[MANY];
    for (int i = 0; i < MANY; i++) {
        char resource[32];
        int is_new;
        snprintf(resource, sizeof resource, "resource %d", i);
        struct weir_origin_parts parts = parts_of(resource, "", "", "");
        held[i] = weir_origins_get(table, &parts, &is_new);
        assert_int_equal(is_new, 1);
    }
    weir_origins_free(table);
    for (int i = 0; i < MANY; i++) {
        char resource[32];
        int size = snprintf(resource, sizeof resource, "resource %d", i);
        assert_memory_equal(held[i]->parts.resource, resource, (size_t)size);
        assert_int_equal(held[i]->refs, 1);
        weir_origin_unref(held[i]);
    }
}

static void the_table_is_bounded_in_bytes(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(16);
    static char large[WEIR_ORIGIN_KEPT_BYTES + 2];
    memset(large, 'x', sizeof large - 1);
    struct weir_origin_parts parts = parts_of(large, "", "", "");
    for (int i = 0; i < 2; i++) {
        int is_new;
        struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
        assert_int_equal(is_new, 1);
        assert_int_equal(origin->refs, 1); /* the caller's only */
        assert_int_equal(weir_origin_memory(origin), sizeof *origin + WEIR_ORIGIN_KEPT_BYTES + 1);
        weir_origin_unref(origin);
    }
    parts.resource_size = WEIR_ORIGIN_KEPT_BYTES;
    for (int i = 0; i < 2; i++) {
        int is_new;
        weir_origin_unref(weir_origins_get(table, &parts, &is_new));
        assert_int_equal(is_new, i == 0);
    }
    weir_origins_free(table);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_bytes_same_origin),        cmocka_unit_test(the_same_text_cut_elsewhere_is_another),
        cmocka_unit_test(many_are_known_at_once),        cmocka_unit_test(what_is_held_outlives_the_table),
        cmocka_unit_test(the_table_is_bounded_in_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
