/* The ring: what goes in comes out, whole and in order, whoever is faster; what does not fit changes nothing. */
#include "emitter/ring.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { RING_BYTES = 4096, RECORDS = 50000 }; /* each ring full is a change of threads, where there is one processor */

static struct ring *new_ring(size_t bytes) {
    struct ring *ring = aligned_alloc(RING_LINE, sizeof *ring);
    memset(ring, 0, sizeof *ring);
    ring->bytes = malloc(bytes);
    ring->size = bytes;
    return ring;
}
static void free_ring(struct ring *ring) {
    free(ring->bytes);
    free(ring);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* Record n: 8 bytes of n, then bytes that hang on n. */
static size_t size_of(uint64_t n) {
    return 8 + (n * 2654435761u >> 7) % 600;
}
static void fill(uint8_t *at, uint64_t n, size_t size) {
    memcpy(at, &n, 8);
    memset(at + 8, (int)(n & 0xff), size - 8);
}
static void check(const uint8_t *at, uint64_t n, size_t size) {
    uint64_t have;
    memcpy(&have, at, 8);
    assert_int_equal(have, n);
    assert_int_equal(size, size_of(n));
    for (size_t i = 8; i < size; i++)
        assert_int_equal(at[i], n & 0xff);
}

static bool put(struct ring *ring, uint64_t n, size_t spare) {
    size_t size = size_of(n);
    uint8_t *at = ring_reserve(ring, size + spare);
    if (at == NULL) return false;
    fill(at, n, size);
    ring_publish(ring, size);
    return true;
}

static void random_turns(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed < 200; seed++) {
        struct ring *ring = new_ring(RING_BYTES);
        uint64_t random = seed * 7919, put_count = 0, got = 0, refused = 0;
        for (unsigned turn = 0; turn < 500; turn++) {
            for (uint64_t i = next_random(&random) % 9; i > 0; i--) {
                size_t spare = next_random(&random) % 100; /* more is reserved than is written */
                if (put(ring, put_count, spare)) {
                    put_count++;
                } else {
                    refused++;
                }
            }
            if (next_random(&random) % 4 == 0) ring_reserve(ring, 100); /* and nothing is published */
            if (next_random(&random) % 3 != 0) continue;
            struct ring_reader reader = ring_read(ring);
            const uint8_t *at;
            for (size_t size; (at = ring_next(ring, &reader, &size)) != NULL; got++)
                check(at, got, size);
            ring_release(ring, &reader);
            assert_int_equal(got, put_count);
        }
        assert_true(refused > 0 && got > 0);
        free_ring(ring);
    }
}

static void full_ring_refuses_until_it_is_read(void **state) {
    (void)state;
    struct ring *ring = new_ring(RING_BYTES);
    uint64_t count = 0;
    while (put(ring, count, 0))
        count++;
    assert_false(put(ring, count, 0));
    struct ring_reader reader = ring_read(ring);
    size_t size;
    assert_non_null(ring_next(ring, &reader, &size));
    assert_false(put(ring, count, 0)); /* read, and not given back yet */
    while (ring_next(ring, &reader, &size) != NULL) {
    }
    ring_release(ring, &reader);
    assert_true(put(ring, count, 0));
    free_ring(ring);
}

/* ---- two threads ---- */

static void *produce(void *argument) {
    struct ring *ring = argument;
    for (uint64_t n = 0; n < RECORDS;) {
        if (put(ring, n, n % 64)) {
            n++;
        } else {
            sched_yield();
        }
    }
    return NULL;
}

static void two_threads(void **state) {
    (void)state;
    struct ring *ring = new_ring(RING_BYTES);
    pthread_t producer;
    assert_int_equal(pthread_create(&producer, NULL, produce, ring), 0);
    for (uint64_t n = 0; n < RECORDS;) {
        struct ring_reader reader = ring_read(ring);
        const uint8_t *at;
        uint64_t before = n;
        for (size_t size; (at = ring_next(ring, &reader, &size)) != NULL; n++)
            check(at, n, size);
        ring_release(ring, &reader);
        if (n == before) sched_yield();
    }
    pthread_join(producer, NULL);
    free_ring(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_turns),
        cmocka_unit_test(full_ring_refuses_until_it_is_read),
        cmocka_unit_test(two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
