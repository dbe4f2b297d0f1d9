/* fold.c - what threads left in their places, into datagrams: spans as they are, cells as what was added since. A span
 * and the counts of its time leave together, or are lost together: a ratio of the two stays true. */
#include "emitter/inside.h"
#include "emitter/wire.h"

#include <float.h>

enum { COUNTERS = 7, HISTOGRAMS = 8, COUNT = 3, SUM = 3, COUNTS = 5 }; /* Datagram; Counter; Histogram */
enum { RELEASE_RECORDS = 256, COUNTS_BYTES = (BOUNDS_MAX + 1) * 10 };

/* ---- spans ---- */

static void fold_ring(struct packer *packer, struct ring *ring) {
    struct ring_reader reader = ring_read(ring);
    const uint8_t *record;
    size_t size;
    for (uint32_t n = 1; (record = ring_next(ring, &reader, &size)) != NULL; n++) {
        uint8_t *at = pack_part(packer, size);
        memcpy(at, record, size);
        pack_wrote(packer, at + size);
        if (n % RELEASE_RECORDS == 0) ring_release(ring, &reader);
    }
    ring_release(ring, &reader);
}

unsigned fullest_ring(struct weir_emit *emit) {
    uint64_t fullest = 0;
    for (uint32_t i = 1; i < emit->slot_count; i++) {
        struct slot *slot = &emit->slots[i];
        if (!atomic_load_explicit(&slot->used, memory_order_acquire)) continue;
        struct ring_reader reader = ring_read(&slot->ring);
        if (reader.end - reader.at > fullest) fullest = reader.end - reader.at;
    }
    return (unsigned)(fullest * 16 / emit->options.ring_bytes);
}

/* ---- cells ---- */

uint64_t cell_sum(const struct weir_emit *emit, uint32_t cell) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < emit->slot_count; i++) {
        const struct slot *slot = &emit->slots[i];
        if (!atomic_load_explicit(&slot->used, memory_order_acquire)) continue;
        sum += atomic_load_explicit(&slot->cells[cell], memory_order_relaxed);
    }
    return sum;
}

static double cell_sum_double(const struct weir_emit *emit, uint32_t cell) {
    double sum = 0;
    for (uint32_t i = 0; i < emit->slot_count; i++) {
        const struct slot *slot = &emit->slots[i];
        if (!atomic_load_explicit(&slot->used, memory_order_acquire)) continue;
        uint64_t bits = atomic_load_explicit(&slot->cells[cell], memory_order_relaxed);
        double value;
        memcpy(&value, &bits, sizeof value);
        sum += value;
    }
    return sum <= DBL_MAX ? sum : DBL_MAX; /* more is no number that Weir would take, and its counts with it */
}

/* What came to a cell since it was asked last. */
static uint64_t added(struct weir_emit *emit, uint32_t cell) {
    uint64_t sum = cell_sum(emit, cell), before = emit->sent[cell];
    emit->sent[cell] = sum;
    return sum - before;
}

static double added_double(struct weir_emit *emit, uint32_t cell) {
    double sum = cell_sum_double(emit, cell), before;
    memcpy(&before, &emit->sent[cell], sizeof before);
    memcpy(&emit->sent[cell], &sum, sizeof sum);
    return sum > before ? sum - before : 0;
}

static void fold_counter(struct weir_emit *emit, const struct entry *entry) {
    uint64_t count = added(emit, entry->cell);
    if (count == 0) return;
    size_t size = entry->head_size + 1 + varint_size(count);
    uint8_t *at = pack_part(&emit->packer, size + 3);
    at = put_length(put_key(at, COUNTERS, WIRE_BYTES), size);
    at = put_bytes(at, entry->head, entry->head_size);
    pack_wrote(&emit->packer, put_uint(at, COUNT, count));
}

static void fold_histogram(struct weir_emit *emit, const struct entry *entry) {
    uint8_t counts[COUNTS_BYTES], *end = counts;
    uint64_t all = 0;
    for (uint32_t i = 0; i < entry->counts; i++) {
        uint64_t count = added(emit, entry->cell + 1 + i);
        all += count;
        end = put_varint(end, count);
    }
    if (all == 0) return; /* its sum is taken with the count that belongs to it */
    size_t counts_size = (size_t)(end - counts);
    size_t size = entry->head_size + 9 + 1 + length_size(counts_size) + counts_size;
    double sum = added_double(emit, entry->cell);
    uint64_t bits;
    memcpy(&bits, &sum, sizeof bits);
    uint8_t *at = pack_part(&emit->packer, size + 3);
    at = put_length(put_key(at, HISTOGRAMS, WIRE_BYTES), size);
    at = put_bytes(at, entry->head, entry->head_size);
    at = put_fixed64(at, SUM, bits);
    pack_wrote(&emit->packer, put_text(at, COUNTS, counts, counts_size));
}

/* ---- all ---- */

void fold_all(struct weir_emit *emit, bool own_too) {
    emit->waits = 0;
    for (uint32_t i = 1; i < emit->slot_count; i++) {
        struct slot *slot = &emit->slots[i];
        if (!atomic_load_explicit(&slot->used, memory_order_acquire)) continue;
        fold_ring(&emit->packer, &slot->ring);
    }
    uint32_t count = atomic_load_explicit(&emit->entry_count, memory_order_acquire);
    for (uint32_t i = 0; i < count; i++) {
        const struct entry *entry = &emit->entries[i];
        if (entry->cell < CELLS_OWN && !own_too) continue;
        if (entry->counts == 0) {
            fold_counter(emit, entry);
        } else {
            fold_histogram(emit, entry);
        }
    }
    pack_flush(&emit->packer);
}
