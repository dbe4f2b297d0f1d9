/* pending.h - the traces of one lane that are not decided: found by id, and in order of what falls due. One thread. */
#ifndef WEIR_SAMPLE_PENDING_H
#define WEIR_SAMPLE_PENDING_H
#include "collector/sample/pool.h"
#include "collector/sample/trace.h"

enum { WEIR_SLOT_NONE = WEIR_POOL_NONE, WEIR_PENDING_ALIKE_MAX = 64 };

/* In which blocks how many of its spans are, four a node: a node is half a cache line, and a list of single ones would
 * be a miss each when the trace is decided. A block may stand there twice. */
enum { WEIR_REFS_A_NODE = 4 };
struct weir_refs {
    uint32_t block[WEIR_REFS_A_NODE]; /* the oldest first */
    uint16_t spans[WEIR_REFS_A_NODE];
    uint32_t next; /* an older node */
    uint32_t count;
};

enum weir_pending_state {
    WEIR_PENDING_FREE,
    WEIR_PENDING_OPEN,    /* spans may come; in the list of waits, with a root also in that of quiets */
    WEIR_PENDING_FOLLOWS, /* late spans of a kept trace, until they are with the journal */
    WEIR_PENDING_LIMITED, /* matched a rule with a limit: its window will say */
};

struct weir_pending {
    struct weir_trace trace;
    uint32_t serial; /* tells it from others that had its slot */
    uint32_t refs;   /* the latest node */
    uint32_t chain;  /* of its hash bucket */
    uint32_t wait_before, wait_after, quiet_before, quiet_after;
    uint32_t born_ms, last_ms; /* of the tail's own clock */
    uint32_t bytes;            /* of bodies; at most trace_bytes_max */
    uint8_t generation, state, cause;
};

struct weir_pendings {
    struct weir_pool slots, refs;
    uint32_t *buckets, bucket_count, count;
    uint32_t wait_first, wait_last, quiet_first, quiet_last;
    uint32_t serial;
    uint64_t seed; /* at random: ids are the senders' choice */
};

static inline struct weir_pending *weir_pending_at(const struct weir_pendings *all, uint32_t slot) {
    return weir_pool_at(&all->slots, slot);
}
/* NULL behind the last. */
static inline struct weir_refs *weir_refs_at(const struct weir_pendings *all, uint32_t node) {
    return node != WEIR_SLOT_NONE ? weir_pool_at(&all->refs, node) : NULL;
}
/* Is the trace that had this slot and serial still undecided? */
static inline bool weir_pending_is(const struct weir_pendings *all, uint32_t slot, uint32_t serial) {
    if (!weir_pool_has(&all->slots, slot)) return false;
    const struct weir_pending *pending = weir_pending_at(all, slot);
    return pending->state != WEIR_PENDING_FREE && pending->serial == serial;
}
bool weir_pendings_init(struct weir_pendings *all); /* false: out of memory */
void weir_pendings_free(struct weir_pendings *all);
uint64_t weir_pendings_memory(const struct weir_pendings *all); /* bytes of all of this */
/* Bytes that the next new trace would add, beyond what is there; 0: there is room. */
size_t weir_pendings_need(const struct weir_pendings *all);
/* By the low half of the id; the high ones are equal or one is zero. WEIR_SLOT_NONE: not here. */
uint32_t weir_pending_find(const struct weir_pendings *all, uint64_t trace_hi, uint64_t trace_lo);
/* Traces that share their low half lie in one chain, whatever the hash. When this low half has WEIR_PENDING_ALIKE_MAX
 * that are OPEN: the oldest of them; else WEIR_SLOT_NONE. */
uint32_t weir_pending_crowded(const struct weir_pendings *all, uint64_t trace_lo);
/* Asks for the memory that finding it will look at: far (the bucket), then near (what is in it). */
void weir_pending_prefetch(const struct weir_pendings *all, uint64_t trace_lo, bool near);
/* A new one, OPEN, last in the list of waits. WEIR_SLOT_NONE: out of memory. */
uint32_t weir_pending_new(struct weir_pendings *all, uint64_t trace_hi, uint64_t trace_lo, uint32_t now_ms);
void weir_pending_quiet(struct weir_pendings *all, uint32_t slot);  /* (again) last in the list of quiets */
void weir_pending_unlist(struct weir_pendings *all, uint32_t slot); /* out of both lists */
/* One more span in `block`: *fresh when the trace had none in it. False: out of memory. */
bool weir_pending_ref(struct weir_pendings *all, uint32_t slot, uint32_t block, bool *fresh);
/* One span less in `block`; true: that was its last there, and the reference is gone. */
bool weir_pending_unref(struct weir_pendings *all, uint32_t slot, uint32_t block);
/* The references of a trace, the oldest first, into `blocks`, which has room for as many. */
uint32_t weir_pending_ref_count(const struct weir_pendings *all, uint32_t slot);
void weir_pending_blocks(const struct weir_pendings *all, uint32_t slot, uint32_t *blocks);
/* Asks for the memory that deciding this trace will look at: far (itself), then near (its references). */
void weir_pending_prefetch_slot(const struct weir_pendings *all, uint32_t slot, bool near);
void weir_pending_drop(struct weir_pendings *all, uint32_t slot); /* forgotten; its refs go back too */
#endif
