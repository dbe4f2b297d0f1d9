/* ring.h - one thread's finished spans on their way to the emitter's: bytes, one producer, one consumer, no waiting.
 *
 *     tail (consumer's)        head (producer's)           positions only grow; an offset is position & (size - 1)
 *       v                        v
 *   [...| size 4 | bytes | to 8 | size | bytes | ....... | SKIP ...]   a record never wraps: SKIP leads to offset 0
 *
 * A place changes its producer only through an acquire of what the last one released (thread.c). */
#ifndef WEIR_EMITTER_RING_H
#define WEIR_EMITTER_RING_H
#include <stdalign.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define RING_SKIP UINT32_MAX
enum { RING_HEAD_BYTES = 4, RING_LINE = 64 };

struct ring {
    alignas(RING_LINE) uint8_t *bytes; /* never changes */
    size_t size;                       /* a power of two */
    uint64_t next, tail_seen;          /* producer */
    alignas(RING_LINE) _Atomic uint64_t head;
    alignas(RING_LINE) _Atomic uint64_t tail;
};

static inline size_t ring_record(size_t size) {
    return (size + RING_HEAD_BYTES + 7) & ~(size_t)7;
}

/* Room for size bytes in one piece, size <= ring->size / 2 - 16; NULL: full. Nothing is there before ring_publish(). */
static inline uint8_t *ring_reserve(struct ring *ring, size_t size) {
    size_t record = ring_record(size), at = ring->next & (ring->size - 1), to_end = ring->size - at;
    size_t skip = to_end < record ? to_end : 0;
    if (__builtin_expect(ring->next + skip + record - ring->tail_seen > ring->size, 0)) {
        ring->tail_seen = atomic_load_explicit(&ring->tail, memory_order_acquire);
        if (ring->next + skip + record - ring->tail_seen > ring->size) return NULL;
    }
    if (skip > 0) {
        const uint32_t mark = RING_SKIP;
        memcpy(ring->bytes + at, &mark, sizeof mark);
        ring->next += skip;
        at = 0;
    }
    return ring->bytes + at + RING_HEAD_BYTES;
}

/* A line that the consumer has read is in its processor's cache too: the first store to it waits for that one to give
 * it up. This asks for it before it is needed. Read-ahead (prefetcht0) would not do, the line has to become ours. */
static inline void ring_own(const uint8_t *line) {
#ifdef __x86_64__ /* a processor that does not know PREFETCHW takes it for a NOP (Intel SDM, volume 2) */
    __asm__ volatile("prefetchw %0" : : "m"(*line));
#else
    __builtin_prefetch(line, 1);
#endif
}

/* What was reserved last holds these bytes, no more than were asked for. */
static inline void ring_publish(struct ring *ring, size_t size) {
    uint32_t head = (uint32_t)size;
    size_t record = ring_record(size);
    memcpy(ring->bytes + (ring->next & (ring->size - 1)), &head, sizeof head);
    ring->next += record;
    atomic_store_explicit(&ring->head, ring->next, memory_order_release);
    /* The one after the next, as long as this one. */
    for (size_t ahead = record; ahead < 2 * record; ahead += RING_LINE)
        ring_own(ring->bytes + ((ring->next + ahead) & (ring->size - 1)));
}

/* The consumer's way through what is there now. */
struct ring_reader {
    uint64_t at, end;
};
static inline struct ring_reader ring_read(struct ring *ring) {
    return (struct ring_reader){.at = atomic_load_explicit(&ring->tail, memory_order_relaxed),
                                .end = atomic_load_explicit(&ring->head, memory_order_acquire)};
}
/* The next record, valid until ring_release(); NULL: no more. */
static inline const uint8_t *ring_next(const struct ring *ring, struct ring_reader *reader, size_t *size) {
    while (reader->at != reader->end) {
        size_t at = reader->at & (ring->size - 1);
        uint32_t head;
        memcpy(&head, ring->bytes + at, sizeof head);
        if (head == RING_SKIP) {
            reader->at += ring->size - at;
            continue;
        }
        reader->at += ring_record(head);
        *size = head;
        return ring->bytes + at + RING_HEAD_BYTES;
    }
    return NULL;
}
static inline void ring_release(struct ring *ring, const struct ring_reader *reader) {
    atomic_store_explicit(&ring->tail, reader->at, memory_order_release);
}
#endif
