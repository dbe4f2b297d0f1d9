#include "collector/core/ring.h"
#include "tests/unit/core/unit.h"

#include <sched.h>
#include <stdlib.h>

static struct weir_ring *ring_new(uint32_t start) {
    struct weir_ring *ring = aligned_alloc(64, (sizeof *ring + 63) / 64 * 64);
    ring->tail_seen = ring->head_seen = start;
    atomic_init(&ring->head, start);
    atomic_init(&ring->tail, start);
    return ring;
}

static void a_fixed_number_of_parcels_in_order(void **state) {
    (void)state;
    struct weir_ring *ring = ring_new(UINT32_MAX - 500); /* the counts wrap on the way */
    struct weir_parcel parcel;
    for (int pass = 0; pass < 3; pass++) {
        assert_false(weir_ring_pop(ring, &parcel));
        for (uint32_t i = 0; i < WEIR_RING_SLOTS; i++) {
            assert_true(weir_ring_room(ring));
            weir_ring_push(ring, (struct weir_parcel){.first = i, .count = i * 3});
        }
        assert_false(weir_ring_room(ring));
        assert_true(weir_ring_pop(ring, &parcel));
        assert_int_equal(parcel.first, 0);
        assert_true(weir_ring_room(ring));
        for (uint32_t i = 1; i < WEIR_RING_SLOTS; i++) {
            assert_true(weir_ring_pop(ring, &parcel));
            assert_int_equal(parcel.first, i);
            assert_int_equal(parcel.count, i * 3);
        }
    }
    free(ring);
}

enum { PARCELS = 200000 };
struct run {
    struct weir_ring *ring;
    unsigned wrong, got;
};

static void runs(void *argument, unsigned index) {
    struct run *run = argument;
    if (index == 0) {
        for (uint32_t i = 0; i < PARCELS;) {
            if (!weir_ring_room(run->ring)) {
                sched_yield();
                continue;
            }
            weir_ring_push(run->ring, (struct weir_parcel){.first = i, .count = ~i});
            i++;
        }
    } else {
        struct weir_parcel parcel;
        while (run->got < PARCELS) {
            if (!weir_ring_pop(run->ring, &parcel)) {
                sched_yield();
                continue;
            }
            if (parcel.first != run->got || parcel.count != ~parcel.first) run->wrong++;
            run->got++;
        }
    }
}

static void producer_and_consumer_at_once(void **state) {
    (void)state;
    struct run run = {.ring = ring_new(0)};
    unit_threads(2, runs, &run);
    assert_int_equal(run.got, PARCELS);
    assert_int_equal(run.wrong, 0);
    free(run.ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_fixed_number_of_parcels_in_order),
        cmocka_unit_test(producer_and_consumer_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
