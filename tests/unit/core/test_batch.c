#include "collector/core/batch.h"
#include "tests/unit/core/unit.h"

#include <stdio.h>
#include <string.h>

static struct weir_origin *origin_of(struct weir_origins *table, const char *resource) {
    int is_new;
    struct weir_origin_parts parts = {.resource = (const uint8_t *)resource,
                                      .resource_size = (uint32_t)strlen(resource)};
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    assert_non_null(origin);
    return origin;
}

static struct weir_batch *batch_with(struct weir_budget *budget, struct weir_origins *table, const char *resource,
                                     uint32_t spans, uint32_t span_size) {
    struct weir_batch *batch = weir_batch_new(budget, 0);
    struct weir_origin *origin = origin_of(table, resource);
    uint16_t index;
    assert_int_equal(weir_batch_origin(batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    for (uint32_t i = 0; i < spans; i++) {
        assert_int_equal(weir_batch_room(batch, span_size), WEIR_OK);
        memset(batch->bytes + batch->size, (int)i, span_size);
        struct weir_span span = {.span_id = i + 1, .offset = (uint32_t)batch->size, .size = span_size, .origin = index};
        batch->size += span_size;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}

static void grows_and_keeps_what_is_there(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(4);
    struct weir_batch *batch = batch_with(NULL, table, "one", 5000, 7);
    assert_int_equal(batch->span_count, 5000);
    assert_int_equal(batch->span_bytes, 35000);
    assert_int_equal(batch->origin_count, 1);
    for (uint32_t i = 0; i < 5000; i++) {
        const struct weir_span *span = &batch->spans[i];
        assert_int_equal(span->span_id, i + 1);
        for (uint32_t b = 0; b < span->size; b++)
            assert_int_equal(batch->bytes[span->offset + b], (uint8_t)i);
    }
    weir_batch_unref(batch);
    weir_batch_unref(NULL);
    weir_origins_free(table);
}

static void the_budget_bounds_all_of_it(void **state) {
    (void)state;
    for (size_t limit = 0; limit < 40000; limit += 97) {
        struct weir_budget budget = {.limit_bytes = limit};
        struct weir_origins *table = weir_origins_new(4);
        struct weir_batch *batch = weir_batch_new(&budget, 100);
        if (batch == NULL) {
            assert_int_equal(budget.used_bytes, 0);
            weir_origins_free(table);
            continue;
        }
        struct weir_origin *origin = origin_of(table, "where from");
        uint16_t index;
        bool full = false;
        for (uint32_t i = 0; i < 200 && !full; i++) {
            size_t size = batch->size, memory = weir_batch_memory(batch);
            uint32_t spans = batch->span_count, origins = batch->origin_count;
            struct weir_span span = {.span_id = i, .offset = (uint32_t)size, .size = 50};
            if (weir_batch_origin(batch, origin, &index) != WEIR_OK) {
                full = true;
                assert_int_equal(weir_batch_memory(batch), memory);
                assert_int_equal(batch->origin_count, origins);
            } else if (weir_batch_room(batch, 50) != WEIR_OK) {
                full = true;
                assert_int_equal(batch->size, size);
            } else if (weir_batch_add(batch, &span) != WEIR_OK) {
                full = true;
                assert_int_equal(batch->span_count, spans);
            } else {
                batch->size += 50;
            }
            assert_int_equal(budget.used_bytes, weir_batch_memory(batch));
            assert_true(budget.used_bytes <= limit);
        }
        assert_true(full || limit > 30000);
        weir_batch_unref(batch);
        assert_int_equal(budget.used_bytes, 0); /* all given back */
        weir_origin_unref(origin);
        weir_origins_free(table);
    }
}

static void offsets_have_32_bits(void **state) {
    (void)state;
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_batch *batch = weir_batch_new(&budget, 0);
    assert_int_equal(weir_batch_room(batch, (size_t)UINT32_MAX + 1), WEIR_FULL);
    assert_int_equal(weir_batch_room(batch, SIZE_MAX), WEIR_FULL);
    assert_int_equal(weir_batch_span_room(batch, UINT32_MAX), WEIR_FULL);
    assert_int_equal(weir_batch_room(batch, 10), WEIR_OK);
    weir_batch_unref(batch);
    assert_int_equal(budget.used_bytes, 0);
}

static void copies_body_view_and_origin(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(64);
    struct weir_batch *a = batch_with(NULL, table, "a", 3, 10), *b = batch_with(NULL, table, "b", 3, 20);
    struct weir_batch *to = weir_batch_new(NULL, 0);
    assert_int_equal(weir_batch_copy(to, b, 2), WEIR_OK);
    assert_int_equal(weir_batch_copy(to, a, 1), WEIR_OK);
    assert_int_equal(weir_batch_copy(to, b, 0), WEIR_OK);
    assert_int_equal(to->span_count, 3);
    assert_int_equal(to->origin_count, 2);
    assert_int_equal(to->span_bytes, 50);
    assert_int_equal(to->size, 50);
    weir_batch_unref(a); /* the copy stands by itself */
    weir_batch_unref(b);
    assert_int_equal(to->spans[0].span_id, 3);
    assert_int_equal(to->spans[1].span_id, 2);
    assert_int_equal(to->bytes[to->spans[0].offset], 2);
    assert_int_equal(to->bytes[to->spans[1].offset + 9], 1);
    assert_memory_equal(to->origins[to->spans[0].origin]->parts.resource, "b", 1);
    assert_memory_equal(to->origins[to->spans[1].origin]->parts.resource, "a", 1);
    assert_int_equal(to->spans[2].origin, to->spans[0].origin);
    weir_batch_unref(to);
    weir_origins_free(table);
}

static void origin_rows_end_at_16_bits(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(16);
    struct weir_batch *batch = weir_batch_new(NULL, 0);
    size_t bytes = 0;
    for (uint32_t i = 0; i <= UINT16_MAX; i++) {
        char resource[16];
        uint16_t index = 0;
        snprintf(resource, sizeof resource, "%u", i);
        struct weir_origin *origin = origin_of(table, resource);
        enum weir_status status = weir_batch_origin(batch, origin, &index);
        if (i < UINT16_MAX) {
            assert_int_equal(status, WEIR_OK);
            assert_int_equal(index, i);
            bytes += weir_origin_memory(origin);
            assert_int_equal(weir_batch_origin(batch, origin, &index), WEIR_OK);
            assert_int_equal(index, i); /* found, not added */
        } else {
            assert_int_equal(status, WEIR_FULL);
        }
        weir_origin_unref(origin);
    }
    assert_int_equal(batch->origin_count, UINT16_MAX);
    assert_int_equal(batch->origin_bytes, bytes);
    weir_batch_unref(batch);
    weir_origins_free(table);
}

static void truncates_to_an_earlier_state(void **state) {
    (void)state;
    struct weir_origins *table = weir_origins_new(4);
    struct weir_batch *batch = batch_with(NULL, table, "a", 10, 5);
    weir_batch_truncate(batch, 4, 20);
    assert_int_equal(batch->span_count, 4);
    assert_int_equal(batch->size, 20);
    assert_int_equal(batch->span_bytes, 20);
    weir_batch_truncate(batch, 10, 50); /* never forward */
    assert_int_equal(batch->span_count, 4);
    assert_int_equal(batch->size, 20);
    weir_batch_unref(batch);
    weir_origins_free(table);
}

static void trimmed_holds_only_what_it_uses(void **state) {
    (void)state;
    struct weir_budget budget = {.limit_bytes = 4 << 20};
    struct weir_origins *table = weir_origins_new(4);
    struct weir_batch *from = batch_with(NULL, table, "a", 3, 100), *batch = weir_batch_new(&budget, 1 << 20);
    for (uint32_t i = 0; i < 3; i++)
        assert_int_equal(weir_batch_copy(batch, from, i), WEIR_OK);
    assert_true(weir_batch_memory(batch) > 1 << 20);
    weir_batch_trim(batch);
    assert_true(weir_batch_memory(batch) <= sizeof *batch + 300 + 3 * sizeof(struct weir_span) + 200);
    assert_int_equal(budget.used_bytes, weir_batch_memory(batch));
    assert_int_equal(batch->bytes[batch->spans[2].offset], 2);
    assert_int_equal(weir_batch_copy(batch, from, 1), WEIR_OK); /* and grows again */
    assert_int_equal(batch->bytes[batch->spans[3].offset], 1);
    weir_batch_trim(batch);
    weir_batch_truncate(batch, 0, 0);
    weir_batch_trim(batch);
    assert_null(batch->bytes);
    assert_null(batch->spans);
    weir_batch_unref(batch);
    weir_batch_unref(from);
    assert_int_equal(budget.used_bytes, 0);
    weir_origins_free(table);
}

static void many_unrefs(void *argument, unsigned index) {
    (void)index;
    struct weir_batch *batch = argument;
    for (int i = 0; i < 10000; i++)
        weir_batch_unref(weir_batch_ref(batch));
    weir_batch_unref(batch);
}

static void the_last_reference_frees(void **state) {
    (void)state;
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_batch *batch = weir_batch_new(&budget, 1000);
    for (int i = 1; i < 4; i++)
        weir_batch_ref(batch);
    unit_threads(4, many_unrefs, batch);
    assert_int_equal(budget.used_bytes, 0);
}

static void draws(void *argument, unsigned index) {
    struct weir_budget *budget = argument;
    for (int i = 0; i < 20000; i++) {
        size_t bytes = 1 + (size_t)(i + (int)index) % 40;
        if (weir_budget_reserve(budget, bytes)) weir_budget_release(budget, bytes);
    }
}

static void budget_under_threads(void **state) {
    (void)state;
    struct weir_budget budget = {.limit_bytes = 100};
    unit_threads(4, draws, &budget);
    assert_int_equal(budget.used_bytes, 0);
    assert_true(weir_budget_reserve(&budget, 100));
    assert_false(weir_budget_reserve(&budget, 1));
    assert_false(weir_budget_reserve(&budget, SIZE_MAX));
    assert_int_equal(budget.used_bytes, 100);
    assert_true(weir_budget_reserve(NULL, SIZE_MAX));
}

static void told(void *self, uint64_t token) {
    *(uint64_t *)self += token;
}

static void the_last_reference_is_told(void **state) {
    (void)state;
    for (int left = 0; left < 2; left++) {
        uint64_t sum = 0;
        struct weir_batch *batch = weir_batch_new(NULL, 64);
        batch->gone = told;
        batch->gone_self = &sum;
        batch->gone_token = 77;
        weir_batch_ref(batch);
        weir_batch_unref(batch);
        assert_int_equal(sum, 0);
        if (left) weir_batch_leave(batch);
        weir_batch_unref(batch);
        assert_int_equal(sum, left ? 0 : 77);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(grows_and_keeps_what_is_there),
        cmocka_unit_test(the_budget_bounds_all_of_it),
        cmocka_unit_test(offsets_have_32_bits),
        cmocka_unit_test(copies_body_view_and_origin),
        cmocka_unit_test(origin_rows_end_at_16_bits),
        cmocka_unit_test(truncates_to_an_earlier_state),
        cmocka_unit_test(trimmed_holds_only_what_it_uses),
        cmocka_unit_test(the_last_reference_frees),
        cmocka_unit_test(budget_under_threads),
        cmocka_unit_test(the_last_reference_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
