#include "collector/sample/pending.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum {
    BUCKETS_FIRST = 1024,
    SLOTS_SHIFT = 9, /* 64 KiB a chunk */
    REFS_SHIFT = 12, /* 128 KiB */
};
_Static_assert(sizeof(struct weir_pending) == 128, "a trace takes two cache lines");
_Static_assert(sizeof(struct weir_refs) == 32, "a node takes half a cache line");

static uint32_t bucket_of(const struct weir_pendings *all, uint64_t trace_lo) {
    /* Not the hash that chose the lane: of its values each lane sees only a part. Keyed, else who chooses ids chooses
     * how long a chain gets. */
    return (uint32_t)(XXH3_64bits_withSeed(&trace_lo, sizeof trace_lo, all->seed) >> 32) & (all->bucket_count - 1);
}

bool weir_pendings_init(struct weir_pendings *all) {
    *all = (struct weir_pendings){.wait_first = WEIR_SLOT_NONE,
                                  .wait_last = WEIR_SLOT_NONE,
                                  .quiet_first = WEIR_SLOT_NONE,
                                  .quiet_last = WEIR_SLOT_NONE,
                                  .bucket_count = BUCKETS_FIRST};
    if (getrandom(&all->seed, sizeof all->seed, GRND_NONBLOCK) < 0) all->seed = (uintptr_t)all;
    weir_pool_init(&all->slots, sizeof(struct weir_pending), SLOTS_SHIFT);
    weir_pool_init(&all->refs, sizeof(struct weir_refs), REFS_SHIFT);
    all->buckets = malloc(BUCKETS_FIRST * sizeof *all->buckets);
    if (all->buckets == NULL) return false;
    memset(all->buckets, 0xff, BUCKETS_FIRST * sizeof *all->buckets);
    return true;
}

void weir_pendings_free(struct weir_pendings *all) {
    weir_pool_free(&all->slots);
    weir_pool_free(&all->refs);
    free(all->buckets);
}

uint64_t weir_pendings_memory(const struct weir_pendings *all) {
    return all->slots.memory + all->refs.memory + all->bucket_count * sizeof *all->buckets;
}

size_t weir_pendings_need(const struct weir_pendings *all) {
    size_t need = weir_pool_need(&all->slots) + weir_pool_need(&all->refs);
    if (all->count >= all->bucket_count) need += all->bucket_count * sizeof *all->buckets;
    return need;
}

uint32_t weir_pending_find(const struct weir_pendings *all, uint64_t trace_hi, uint64_t trace_lo) {
    for (uint32_t slot = all->buckets[bucket_of(all, trace_lo)]; slot != WEIR_SLOT_NONE;) {
        const struct weir_pending *pending = weir_pending_at(all, slot);
        const struct weir_trace *trace = &pending->trace;
        if (trace->trace_lo == trace_lo && (trace->trace_hi == trace_hi || trace->trace_hi == 0 || trace_hi == 0))
            return slot;
        slot = pending->chain;
    }
    return WEIR_SLOT_NONE;
}

uint32_t weir_pending_crowded(const struct weir_pendings *all, uint64_t trace_lo) {
    uint32_t alike = 0, oldest = WEIR_SLOT_NONE;
    for (uint32_t slot = all->buckets[bucket_of(all, trace_lo)]; slot != WEIR_SLOT_NONE;) {
        const struct weir_pending *pending = weir_pending_at(all, slot);
        if (pending->trace.trace_lo == trace_lo && pending->state == WEIR_PENDING_OPEN) {
            alike++;
            if (oldest == WEIR_SLOT_NONE || (int32_t)(pending->serial - weir_pending_at(all, oldest)->serial) < 0)
                oldest = slot;
        }
        slot = pending->chain;
    }
    return alike >= WEIR_PENDING_ALIKE_MAX ? oldest : WEIR_SLOT_NONE;
}

void weir_pending_prefetch(const struct weir_pendings *all, uint64_t trace_lo, bool near) {
    const uint32_t *bucket = &all->buckets[bucket_of(all, trace_lo)];
    if (!near) {
        __builtin_prefetch(bucket, 1);
    } else if (*bucket != WEIR_SLOT_NONE) {
        const char *pending = (const char *)weir_pending_at(all, *bucket);
        __builtin_prefetch(pending, 1);
        __builtin_prefetch(pending + 64, 1);
    }
}

void weir_pending_prefetch_slot(const struct weir_pendings *all, uint32_t slot, bool near) {
    const struct weir_pending *pending = weir_pending_at(all, slot);
    if (!near) {
        __builtin_prefetch(pending, 1);
        __builtin_prefetch((const char *)pending + 64, 1);
    } else if (pending->refs != WEIR_SLOT_NONE) {
        __builtin_prefetch(weir_refs_at(all, pending->refs), 1);
        __builtin_prefetch(&all->buckets[bucket_of(all, pending->trace.trace_lo)], 1);
    }
}

static void grow_buckets(struct weir_pendings *all) {
    uint32_t count = 2 * all->bucket_count, *old = all->buckets, old_count = all->bucket_count;
    uint32_t *more = malloc(count * sizeof *more);
    if (more == NULL) return; /* longer chains */
    memset(more, 0xff, count * sizeof *more);
    all->buckets = more;
    all->bucket_count = count;
    for (uint32_t i = 0; i < old_count; i++) {
        for (uint32_t slot = old[i], next; slot != WEIR_SLOT_NONE; slot = next) {
            struct weir_pending *pending = weir_pending_at(all, slot);
            uint32_t bucket = bucket_of(all, pending->trace.trace_lo);
            next = pending->chain;
            pending->chain = more[bucket];
            more[bucket] = slot;
        }
    }
    free(old);
}

uint32_t weir_pending_new(struct weir_pendings *all, uint64_t trace_hi, uint64_t trace_lo, uint32_t now_ms) {
    if (all->count >= all->bucket_count) grow_buckets(all);
    uint32_t slot = weir_pool_take(&all->slots), bucket = bucket_of(all, trace_lo);
    if (slot == WEIR_SLOT_NONE) return slot;
    if (++all->serial == 0) all->serial = 1; /* 0 is nobody's */
    struct weir_pending *pending = weir_pending_at(all, slot);
    *pending = (struct weir_pending){.trace = {.trace_hi = trace_hi, .trace_lo = trace_lo},
                                     .serial = all->serial,
                                     .refs = WEIR_SLOT_NONE,
                                     .chain = all->buckets[bucket],
                                     .wait_before = all->wait_last,
                                     .wait_after = WEIR_SLOT_NONE,
                                     .quiet_before = slot, /* in no list */
                                     .born_ms = now_ms,
                                     .last_ms = now_ms,
                                     .state = WEIR_PENDING_OPEN};
    all->buckets[bucket] = slot;
    if (all->wait_last != WEIR_SLOT_NONE)
        weir_pending_at(all, all->wait_last)->wait_after = slot;
    else
        all->wait_first = slot;
    all->wait_last = slot;
    all->count++;
    return slot;
}

/* A slot that is its own predecessor is in no list. */
static void out_of_waits(struct weir_pendings *all, uint32_t slot) {
    struct weir_pending *pending = weir_pending_at(all, slot);
    if (pending->wait_before == slot) return;
    if (pending->wait_before != WEIR_SLOT_NONE)
        weir_pending_at(all, pending->wait_before)->wait_after = pending->wait_after;
    else
        all->wait_first = pending->wait_after;
    if (pending->wait_after != WEIR_SLOT_NONE)
        weir_pending_at(all, pending->wait_after)->wait_before = pending->wait_before;
    else
        all->wait_last = pending->wait_before;
    pending->wait_before = slot;
}

static void out_of_quiets(struct weir_pendings *all, uint32_t slot) {
    struct weir_pending *pending = weir_pending_at(all, slot);
    if (pending->quiet_before == slot) return;
    if (pending->quiet_before != WEIR_SLOT_NONE)
        weir_pending_at(all, pending->quiet_before)->quiet_after = pending->quiet_after;
    else
        all->quiet_first = pending->quiet_after;
    if (pending->quiet_after != WEIR_SLOT_NONE)
        weir_pending_at(all, pending->quiet_after)->quiet_before = pending->quiet_before;
    else
        all->quiet_last = pending->quiet_before;
    pending->quiet_before = slot;
}

void weir_pending_quiet(struct weir_pendings *all, uint32_t slot) {
    if (all->quiet_last == slot) return;
    out_of_quiets(all, slot);
    struct weir_pending *pending = weir_pending_at(all, slot);
    pending->quiet_before = all->quiet_last;
    pending->quiet_after = WEIR_SLOT_NONE;
    if (all->quiet_last != WEIR_SLOT_NONE)
        weir_pending_at(all, all->quiet_last)->quiet_after = slot;
    else
        all->quiet_first = slot;
    all->quiet_last = slot;
}

void weir_pending_unlist(struct weir_pendings *all, uint32_t slot) {
    out_of_waits(all, slot);
    out_of_quiets(all, slot);
}

bool weir_pending_ref(struct weir_pendings *all, uint32_t slot, uint32_t block, bool *fresh) {
    struct weir_pending *pending = weir_pending_at(all, slot);
    struct weir_refs *node = weir_refs_at(all, pending->refs);
    *fresh = false;
    for (uint32_t i = node != NULL ? node->count : 0; i-- > 0;) { /* of older nodes none is likely to be hot */
        if (node->block[i] != block || node->spans[i] == UINT16_MAX) continue;
        node->spans[i]++;
        return true;
    }
    if (node == NULL || node->count == WEIR_REFS_A_NODE) {
        uint32_t at = weir_pool_take(&all->refs);
        if (at == WEIR_SLOT_NONE) return false;
        node = weir_refs_at(all, at);
        *node = (struct weir_refs){.next = pending->refs};
        pending->refs = at;
    }
    node->block[node->count] = block;
    node->spans[node->count++] = 1;
    *fresh = true;
    return true;
}

bool weir_pending_unref(struct weir_pendings *all, uint32_t slot, uint32_t block) {
    for (uint32_t *at = &weir_pending_at(all, slot)->refs; *at != WEIR_SLOT_NONE; at = &weir_refs_at(all, *at)->next) {
        struct weir_refs *node = weir_refs_at(all, *at);
        uint32_t i = 0;
        while (i < node->count && node->block[i] != block)
            i++;
        if (i == node->count) continue;
        if (--node->spans[i] > 0) return false;
        for (node->count--; i < node->count; i++) {
            node->block[i] = node->block[i + 1];
            node->spans[i] = node->spans[i + 1];
        }
        if (node->count == 0) {
            uint32_t empty = *at;
            *at = node->next;
            weir_pool_give(&all->refs, empty);
        }
        return true;
    }
    return false;
}

uint32_t weir_pending_ref_count(const struct weir_pendings *all, uint32_t slot) {
    uint32_t count = 0;
    const struct weir_refs *node = weir_refs_at(all, weir_pending_at(all, slot)->refs);
    for (; node != NULL; node = weir_refs_at(all, node->next))
        count += node->count;
    return count;
}

void weir_pending_blocks(const struct weir_pendings *all, uint32_t slot, uint32_t *blocks) {
    uint32_t left = weir_pending_ref_count(all, slot);
    const struct weir_refs *node = weir_refs_at(all, weir_pending_at(all, slot)->refs);
    for (; node != NULL; node = weir_refs_at(all, node->next)) {
        for (uint32_t i = node->count; i-- > 0;)
            blocks[--left] = node->block[i];
    }
}

void weir_pending_drop(struct weir_pendings *all, uint32_t slot) {
    struct weir_pending *pending = weir_pending_at(all, slot);
    weir_pending_unlist(all, slot);
    for (uint32_t node = pending->refs, next; node != WEIR_SLOT_NONE; node = next) {
        next = weir_refs_at(all, node)->next;
        weir_pool_give(&all->refs, node);
    }
    uint32_t *at = &all->buckets[bucket_of(all, pending->trace.trace_lo)];
    while (*at != slot)
        at = &weir_pending_at(all, *at)->chain;
    *at = pending->chain;
    pending->state = WEIR_PENDING_FREE;
    weir_pool_give(&all->slots, slot);
    all->count--;
}
