/* ring.h - one producer, one consumer, a fixed number of parcels: how spans and points cross from lane to lane.
 * The producer asks for room before it commits to anything; since nobody else produces, room stays. */
#ifndef WEIR_CORE_RING_H
#define WEIR_CORE_RING_H
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct weir_batch;
struct weir_points;

/* spans[first .. first+count) of a shared batch (one reference travels along), or a block of points (moved). */
struct weir_parcel {
    struct weir_batch *batch;
    struct weir_points *points;
    uint32_t first, count;
};

enum { WEIR_RING_SLOTS = 1024 };

struct weir_ring {
    _Alignas(64) _Atomic uint32_t head; /* consumer's */
    uint32_t tail_seen;
    _Alignas(64) _Atomic uint32_t tail; /* producer's */
    uint32_t head_seen;
    _Alignas(64) struct weir_parcel slots[WEIR_RING_SLOTS];
};

static inline bool weir_ring_room(struct weir_ring *ring) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (tail - ring->head_seen < WEIR_RING_SLOTS) return true;
    ring->head_seen = atomic_load_explicit(&ring->head, memory_order_acquire);
    return tail - ring->head_seen < WEIR_RING_SLOTS;
}
/* After weir_ring_room(). Seen by the consumer at once. */
static inline void weir_ring_push(struct weir_ring *ring, struct weir_parcel parcel) {
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    ring->slots[tail % WEIR_RING_SLOTS] = parcel;
    atomic_store_explicit(&ring->tail, tail + 1, memory_order_release);
}
static inline bool weir_ring_pop(struct weir_ring *ring, struct weir_parcel *parcel) {
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    if (head == ring->tail_seen) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (head == ring->tail_seen) return false;
    }
    *parcel = ring->slots[head % WEIR_RING_SLOTS];
    atomic_store_explicit(&ring->head, head + 1, memory_order_release);
    return true;
}
#endif
