#include "collector/sample/tail_inside.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

uint64_t weir_tail_memory(const struct weir_tail *tail) {
    return weir_blocks_memory(tail->blocks) + weir_pendings_memory(&tail->pendings) +
           weir_decisions_memory(tail->decisions) + weir_tail_rules_memory(tail);
}

/* ---- decisions ---- */

/* Its place is given back; the callbacks see a copy of its facts. */
static void forget(struct weir_tail *tail, uint32_t slot) {
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    struct weir_generation *generation = &tail->generations[pending->generation];
    tail->spans -= pending->trace.span_count;
    const struct weir_refs *node = weir_refs_at(&tail->pendings, pending->refs);
    for (; node != NULL; node = weir_refs_at(&tail->pendings, node->next)) {
        for (uint32_t i = 0; i < node->count; i++)
            weir_blocks_release(tail->blocks, node->block[i], node->spans[i]);
    }
    weir_pending_drop(&tail->pendings, slot);
    generation->traces--;
}

static uint32_t raise_all(struct weir_batch *spans, const struct weir_verdict *verdict) {
    uint32_t mark = 0;
    bool rooted = false;
    for (uint32_t i = 0; i < spans->span_count; i++) {
        struct weir_span *span = &spans->spans[i];
        /* The trace was kept by its own R; a span that says another one stands for as many. */
        if (!weir_threshold_raise(span, verdict->threshold)) {
            span->threshold = verdict->threshold;
            span->flags |= WEIR_SPAN_TH_CHANGED;
        }
        if (!rooted && (span->flags & WEIR_SPAN_ROOT) != 0) {
            mark = i;
            rooted = true;
        }
    }
    return mark;
}

static void finish(struct weir_tail *tail, uint32_t slot, const struct weir_verdict *verdict) {
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    struct weir_trace trace = pending->trace;
    enum weir_cause cause = pending->cause;
    bool follows = pending->state == WEIR_PENDING_FOLLOWS;
    struct weir_batch *spans = NULL;
    /* Of one that follows too: where the journal has its decision may be gone by now, and its span is there anew. */
    if (tail->env.journal != NULL) tail->env.journal->decided(tail->env.journal->self, &trace, verdict);
    if (!follows) {
        weir_decisions_put(tail->decisions, trace.trace_hi, trace.trace_lo, verdict);
        weir_count(tail->metrics, (verdict->kept ? WEIR_TAIL_CAUSE_KEPT : WEIR_TAIL_CAUSE_DROPPED) + cause, 1);
        weir_count(tail->metrics, WEIR_TAIL_AGE,
                   (uint64_t)(weir_tail_ms(tail, tail->now_ns) - pending->born_ms) * WEIR_MS);
        if ((trace.flags & WEIR_TRACE_ROOT) == 0) weir_count(tail->metrics, WEIR_TAIL_NO_ROOT, 1);
    }
    if (trace.span_count > 0 && (verdict->kept || tail->watched)) spans = weir_tail_gather(tail, slot);
    forget(tail, slot);
    if (trace.span_count == 0) return;
    if (spans != NULL && verdict->kept) {
        uint32_t mark = raise_all(spans, verdict);
        tail->env.kept(tail->env.self, spans, mark, &trace, verdict, cause);
    } else {
        if (verdict->kept)
            tail->env.lost(tail->env.self, &trace);
        else
            tail->env.dropped(tail->env.self, spans, &trace, verdict, cause);
    }
    weir_batch_unref(spans);
}

void weir_tail_resolved(void *self, uint32_t slot, const struct weir_verdict *verdict) {
    finish(self, slot, verdict);
}

static void decide(struct weir_tail *tail, uint32_t slot, enum weir_cause cause) {
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    struct weir_generation *generation = &tail->generations[pending->generation];
    struct weir_verdict verdict = {.kept = true, .rule = WEIR_RULE_NONE};
    weir_pending_unlist(&tail->pendings, slot);
    pending->cause = (uint8_t)cause;
    if (pending->state == WEIR_PENDING_FOLLOWS) {
        weir_decisions_find(tail->decisions, pending->trace.trace_hi, pending->trace.trace_lo, &verdict);
        finish(tail, slot, &verdict);
        return;
    }
    if (generation->shadow != NULL)
        weir_decider_decide(generation->shadow, &pending->trace, WEIR_HANDLE_NONE, tail->now_ns, &verdict);
    switch (weir_decider_decide(generation->decider, &pending->trace, slot, tail->now_ns, &verdict)) {
    case WEIR_DECISION_WAITS: /* it may have been resolved within the call */
        if (pending->state == WEIR_PENDING_OPEN) pending->state = WEIR_PENDING_LIMITED;
        break;
    default: finish(tail, slot, &verdict); break;
    }
}

/* ---- memory ---- */

static bool decide_oldest(struct weir_tail *tail) {
    uint32_t slot = tail->pendings.wait_first;
    if (slot != WEIR_SLOT_NONE && slot == tail->busy) slot = weir_pending_at(&tail->pendings, slot)->wait_after;
    if (slot == WEIR_SLOT_NONE) return false;
    decide(tail, slot, WEIR_CAUSE_MEMORY);
    return true;
}

static void flush_deciders(struct weir_tail *tail) {
    for (int g = 0; g < WEIR_GENERATIONS; g++) {
        if (tail->generations[g].decider != NULL) weir_decider_flush(tail->generations[g].decider, tail->now_ns);
    }
}

static bool room(void *self, size_t bytes) {
    struct weir_tail *tail = self;
    bool flushed = false;
    while (weir_tail_memory(tail) + bytes > tail->limit_bytes) {
        if (decide_oldest(tail)) continue;
        if (flushed) return false;
        flush_deciders(tail); /* all that is left waits for its window's end */
        flushed = true;
    }
    return true;
}

/* ---- sparse blocks: what is needed of them is written anew ---- */

struct rewrite {
    struct weir_tail *tail;
    struct weir_record *records;
    uint8_t *bodies;
    size_t count, capacity, size, room;
    bool failed;
};

static void rewrite_record(void *self, const struct weir_record *record) {
    struct rewrite *rewrite = self;
    const struct weir_pendings *pendings = &rewrite->tail->pendings;
    if (rewrite->failed || !weir_pending_is(pendings, record->slot, record->serial)) return;
    if (rewrite->count == rewrite->capacity) {
        size_t capacity = 2 * rewrite->capacity + 64;
        struct weir_record *more = realloc(rewrite->records, capacity * sizeof *more);
        if (more == NULL) {
            rewrite->failed = true;
            return;
        }
        rewrite->records = more;
        rewrite->capacity = capacity;
    }
    if (rewrite->size + record->size > rewrite->room) {
        size_t more_room = 2 * rewrite->room + record->size + 4096;
        uint8_t *more = realloc(rewrite->bodies, more_room);
        if (more == NULL) {
            rewrite->failed = true;
            return;
        }
        rewrite->bodies = more;
        rewrite->room = more_room;
    }
    rewrite->records[rewrite->count] = *record;
    rewrite->records[rewrite->count++].body = (const uint8_t *)(uintptr_t)rewrite->size; /* bodies may move */
    memcpy(rewrite->bodies + rewrite->size, record->body, record->size);
    rewrite->size += record->size;
}

/* The trace may have been decided meanwhile: room() does that, also to the one that a span is being added to, when it
 * waits for a window that had to end. */
static bool is_open(const struct weir_tail *tail, uint32_t slot, uint32_t serial) {
    return weir_pending_is(&tail->pendings, slot, serial);
}

enum written { WRITTEN, WRITTEN_NOT, WRITTEN_DECIDED /* its trace was decided for the room; it is not held */ };

static enum written write_record(struct weir_tail *tail, unsigned hot, const struct weir_record *record) {
    bool fresh;
    tail->busy = record->slot;
    uint32_t block = weir_blocks_put(tail->blocks, hot, record);
    tail->busy = WEIR_SLOT_NONE;
    if (!is_open(tail, record->slot, record->serial)) {
        if (block != WEIR_BLOCK_NONE) {
            weir_blocks_hold(tail->blocks, block);
            weir_blocks_release(tail->blocks, block, 1);
        }
        return WRITTEN_DECIDED;
    }
    if (block == WEIR_BLOCK_NONE) return WRITTEN_NOT;
    if (!weir_pending_ref(&tail->pendings, record->slot, block, &fresh)) {
        weir_blocks_hold(tail->blocks, block);
        weir_blocks_release(tail->blocks, block, 1);
        return WRITTEN_NOT;
    }
    if (fresh) weir_blocks_hold(tail->blocks, block);
    return WRITTEN;
}

static void rewrite_block(struct weir_tail *tail, uint32_t block) {
    struct rewrite rewrite = {.tail = tail};
    if (!weir_blocks_read(tail->blocks, block, rewrite_record, &rewrite) || rewrite.failed) goto out;
    for (size_t i = 0; i < rewrite.count; i++) {
        struct weir_record *record = &rewrite.records[i];
        record->body = rewrite.bodies + (uintptr_t)record->body;
        if (!is_open(tail, record->slot, record->serial)) continue;
        enum written written = write_record(tail, 0, record);
        if (written == WRITTEN_NOT) break;
        if (written == WRITTEN_DECIDED) continue;
        /* The reference to the old block goes record by record, so that no span is ever held twice or not at all. */
        weir_blocks_hold(tail->blocks, block);
        weir_blocks_release(tail->blocks, block, 1);
        if (weir_pending_unref(&tail->pendings, record->slot, block)) weir_blocks_release(tail->blocks, block, 0);
    }
    weir_count(tail->metrics, WEIR_TAIL_REWRITTEN, 1);
out:
    free(rewrite.records);
    free(rewrite.bodies);
}

enum { SPARSE_A_ROUND = 64 };

/* Near the bound: blocks of which most is decided give their place back before any trace is decided early. */
static void rewrite_sparse(struct weir_tail *tail) {
    uint32_t blocks[SPARSE_A_ROUND];
    if (weir_tail_memory(tail) < tail->limit_bytes - tail->limit_bytes / 8) return;
    uint32_t count = weir_blocks_sparse(tail->blocks, blocks, SPARSE_A_ROUND);
    for (uint32_t i = 0; i < count; i++) /* what is decided meanwhile takes none of them away, nor their origins */
        weir_blocks_hold(tail->blocks, blocks[i]);
    for (uint32_t i = 0; i < count; i++) {
        rewrite_block(tail, blocks[i]);
        weir_blocks_release(tail->blocks, blocks[i], 0);
    }
}

/* ---- spans ---- */

/* By what is known now: a trace that looks kept lies apart, so that what is decompressed later is mostly kept. */
static unsigned looks_kept(const struct weir_keep *keep, const struct weir_trace *trace) {
    uint64_t dry;
    uint16_t rule = weir_keep_match(keep, trace, trace->passed, &dry);
    if (rule >= keep->rule_count) return 1;
    return trace->randomness >= keep->rules[rule].threshold;
}

static enum weir_tail_answer follow(struct weir_tail *tail, struct weir_span *span, enum weir_remembered how,
                                    struct weir_verdict *verdict, const struct weir_batch *batch, uint32_t i) {
    if (how == WEIR_REMEMBERED_KEPT) {
        bool kept = weir_threshold_raise(span, verdict->threshold);
        weir_count(tail->metrics, kept ? WEIR_TAIL_LATE_KEPT : WEIR_TAIL_LATE_DROPPED, 1);
        return kept ? WEIR_TAIL_KEEP : WEIR_TAIL_DROP;
    }
    if ((span->flags & WEIR_SPAN_FORCED) != 0) { /* forced is forced, also late */
        *verdict = (struct weir_verdict){.kept = true, .rule = WEIR_RULE_FORCED};
        weir_count(tail->metrics, WEIR_TAIL_LATE_KEPT, 1);
        return WEIR_TAIL_KEEP;
    }
    weir_count(tail->metrics, WEIR_TAIL_LATE_DROPPED, 1);
    if (tail->current >= 0) { /* would it have changed the decision? */
        const struct weir_keep *keep = tail->generations[tail->current].keep;
        struct weir_trace alone = {0};
        uint64_t dry;
        weir_trace_add(&alone, keep, NULL, tail->env.names, batch, i);
        uint16_t rule = weir_keep_match(keep, &alone, alone.passed, &dry);
        if (rule < keep->rule_count && keep->rules[rule].max_traces_per_second == 0 &&
            keep->rules[rule].dynamic == NULL && alone.randomness >= keep->rules[rule].threshold)
            weir_count(tail->metrics, WEIR_TAIL_LATE_WOULD, 1);
    }
    return WEIR_TAIL_DROP;
}

/* A span that is too large to wait: its trace is decided now, by what is known, and it follows. */
static enum weir_tail_answer take_alone(struct weir_tail *tail, struct weir_batch *batch, uint32_t i, uint32_t slot,
                                        struct weir_verdict *verdict) {
    struct weir_span *span = &batch->spans[i];
    if (slot == WEIR_SLOT_NONE) {
        slot = weir_pending_new(&tail->pendings, span->trace_hi, span->trace_lo, weir_tail_ms(tail, tail->now_ns));
        if (slot == WEIR_SLOT_NONE) return WEIR_TAIL_KEEP; /* no memory at all: better stored than lost */
        weir_pending_at(&tail->pendings, slot)->generation = (uint8_t)tail->current;
        tail->generations[tail->current].traces++;
    }
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    const struct weir_generation *generation = &tail->generations[pending->generation];
    weir_trace_add(&pending->trace, generation->keep, generation->shadow_keep, tail->env.names, batch, i);
    pending->trace.span_count--; /* it is not held */
    if (pending->state == WEIR_PENDING_OPEN) decide(tail, slot, WEIR_CAUSE_SIZE);
    flush_deciders(tail); /* its window may have to say */
    enum weir_remembered how = weir_decisions_find(tail->decisions, span->trace_hi, span->trace_lo, verdict);
    return follow(tail, span, how, verdict, batch, i);
}

static bool list_follower(struct weir_tail *tail, uint32_t slot) {
    if (tail->follow_count == tail->follow_capacity) {
        uint32_t capacity = 2 * tail->follow_capacity + 256;
        uint32_t *more = realloc(tail->follows, capacity * sizeof *more);
        if (more == NULL) return false;
        tail->follows = more;
        tail->follow_capacity = capacity;
    }
    tail->follows[tail->follow_count++] = slot;
    return true;
}

static uint32_t begin(struct weir_tail *tail, const struct weir_span *span, bool follows) {
    uint32_t crowd = weir_pending_crowded(&tail->pendings, span->trace_lo);
    if (crowd != WEIR_SLOT_NONE) decide(tail, crowd, WEIR_CAUSE_SIZE);
    uint32_t slot = weir_pending_new(&tail->pendings, span->trace_hi, span->trace_lo, weir_tail_ms(tail, tail->now_ns));
    if (slot == WEIR_SLOT_NONE) return slot;
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    pending->generation = (uint8_t)tail->current;
    tail->generations[tail->current].traces++;
    if (follows && list_follower(tail, slot)) {
        pending->state = WEIR_PENDING_FOLLOWS;
        weir_pending_unlist(&tail->pendings, slot);
    }
    return slot;
}

static enum written hold(struct weir_tail *tail, uint32_t slot, struct weir_batch *batch, uint32_t i) {
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    const struct weir_generation *generation = &tail->generations[pending->generation];
    const struct weir_span *span = &batch->spans[i];
    weir_trace_add(&pending->trace, generation->keep, generation->shadow_keep, tail->env.names, batch, i);
    const struct weir_record record = {.serial = pending->serial,
                                       .slot = slot,
                                       .operation = span->operation,
                                       .threshold = span->threshold,
                                       .prior = span->prior,
                                       .origin = batch->origins[span->origin],
                                       .body = batch->bytes + span->offset,
                                       .size = span->size,
                                       .flags = span->flags,
                                       .receiver = span->receiver,
                                       .status = span->status};
    unsigned hot = looks_kept(generation->keep, &pending->trace);
    pending->trace.span_count--; /* until it is there */
    enum written written = write_record(tail, hot, &record);
    if (written != WRITTEN) return written;
    pending->trace.span_count++;
    tail->spans++;
    pending->last_ms = weir_tail_ms(tail, tail->now_ns);
    pending->bytes = pending->bytes + span->size < pending->bytes ? UINT32_MAX : pending->bytes + span->size;
    return written;
}

static enum weir_tail_answer take(struct weir_tail *tail, struct weir_batch *batch, uint32_t i, uint64_t now_ns,
                                  struct weir_verdict *verdict) {
    struct weir_span *span = &batch->spans[i];
    tail->now_ns = now_ns;
    *verdict = (struct weir_verdict){.kept = true, .rule = WEIR_RULE_NONE};
    uint32_t slot = weir_pending_find(&tail->pendings, span->trace_hi, span->trace_lo);
    bool follows = false;
    if (slot == WEIR_SLOT_NONE) {
        enum weir_remembered how = weir_decisions_find(tail->decisions, span->trace_hi, span->trace_lo, verdict);
        if (tail->current < 0 || how == WEIR_REMEMBERED_DROPPED ||
            (how == WEIR_REMEMBERED_KEPT && tail->env.journal == NULL)) {
            return how == WEIR_REMEMBERED_NOT ? WEIR_TAIL_KEEP : follow(tail, span, how, verdict, batch, i);
        }
        follows = how == WEIR_REMEMBERED_KEPT;
        /* Behind the journal it is on disk before it is answered for, and goes on from there. */
        if (follows && follow(tail, span, how, verdict, batch, i) == WEIR_TAIL_DROP) return WEIR_TAIL_DROP;
    }
    size_t need = weir_pendings_need(&tail->pendings);
    if (need > 0 || span->size > tail->body_max) {
        uint32_t serial = slot != WEIR_SLOT_NONE ? weir_pending_at(&tail->pendings, slot)->serial : 0;
        tail->busy = slot;
        bool fits = span->size <= tail->body_max && room(tail, need);
        tail->busy = WEIR_SLOT_NONE;
        if (serial != 0 && !is_open(tail, slot, serial)) return take(tail, batch, i, now_ns, verdict);
        if (!fits) return follows ? WEIR_TAIL_KEEP : take_alone(tail, batch, i, slot, verdict);
    }
    if (slot == WEIR_SLOT_NONE) slot = begin(tail, span, follows);
    if (slot == WEIR_SLOT_NONE) return WEIR_TAIL_KEEP;
    switch (hold(tail, slot, batch, i)) {
    case WRITTEN: break;
    case WRITTEN_NOT: return take_alone(tail, batch, i, slot, verdict);
    case WRITTEN_DECIDED: return take(tail, batch, i, now_ns, verdict); /* late, now */
    }
    struct weir_pending *pending = weir_pending_at(&tail->pendings, slot);
    bool large = pending->trace.span_count > tail->trace_spans_max || pending->bytes > tail->trace_bytes_max;
    if (pending->state == WEIR_PENDING_OPEN && (pending->trace.flags & WEIR_TRACE_ROOT) != 0)
        weir_pending_quiet(&tail->pendings, slot);
    if (large && pending->state == WEIR_PENDING_OPEN)
        decide(tail, slot, WEIR_CAUSE_SIZE);
    else if (large && pending->state == WEIR_PENDING_LIMITED)
        /* It does not grow for as long as its window lasts: that ends now, for all that wait for it. */
        weir_decider_flush(tail->generations[pending->generation].decider, now_ns);
    return WEIR_TAIL_HELD;
}

enum weir_tail_answer weir_tail_take(struct weir_tail *tail, struct weir_batch *batch, uint32_t i, uint64_t now_ns,
                                     struct weir_verdict *verdict) {
    tail->under_way = true;
    enum weir_tail_answer answer = take(tail, batch, i, now_ns, verdict);
    tail->under_way = false;
    return answer;
}

void weir_tail_prefetch(const struct weir_tail *tail, const struct weir_span *span, bool near) {
    weir_pending_prefetch(&tail->pendings, span->trace_lo, near);
    if (!near) weir_decisions_prefetch(tail->decisions, span->trace_lo);
}

/* ---- time ---- */

static void decide_followers(struct weir_tail *tail) {
    for (uint32_t i = 0; i < tail->follow_count; i++)
        decide(tail, tail->follows[i], WEIR_CAUSE_ROOT);
    tail->follow_count = 0;
}

/* Deciding a trace looks at memory that was last touched seconds ago: it is asked for some traces ahead. */
struct ahead {
    uint32_t far, near, steps;
};
enum { AHEAD_FAR = 12, AHEAD_NEAR = 6 };

/* Whoever waits for the end of this may go on here; what is due next may be decided then. */
static bool rested(struct weir_tail *tail) {
    if (tail->env.between == NULL) return false;
    tail->under_way = false;
    bool called = tail->env.between(tail->env.self);
    tail->under_way = true;
    return called;
}

static void look_ahead(const struct weir_tail *tail, struct ahead *ahead, bool quiet) {
    const struct weir_pendings *pendings = &tail->pendings;
    if (ahead->steps == 0) ahead->far = ahead->near = quiet ? pendings->quiet_first : pendings->wait_first;
    for (uint32_t more = ahead->steps == 0 ? AHEAD_FAR : 1; more > 0 && ahead->far != WEIR_SLOT_NONE; more--) {
        const struct weir_pending *pending = weir_pending_at(pendings, ahead->far);
        ahead->far = quiet ? pending->quiet_after : pending->wait_after;
        if (ahead->far != WEIR_SLOT_NONE) weir_pending_prefetch_slot(pendings, ahead->far, false);
    }
    for (uint32_t more = ahead->steps == 0 ? AHEAD_NEAR : 1; more > 0 && ahead->near != WEIR_SLOT_NONE; more--) {
        const struct weir_pending *pending = weir_pending_at(pendings, ahead->near);
        ahead->near = quiet ? pending->quiet_after : pending->wait_after;
        if (ahead->near == WEIR_SLOT_NONE) break;
        weir_pending_prefetch_slot(pendings, ahead->near, true);
        weir_decisions_prefetch(tail->decisions, weir_pending_at(pendings, ahead->near)->trace.trace_lo);
    }
    ahead->steps++;
}

void weir_tail_tick(struct weir_tail *tail, uint64_t now_ns) {
    struct weir_pendings *pendings = &tail->pendings;
    tail->now_ns = now_ns;
    tail->under_way = true;
    uint32_t now_ms = weir_tail_ms(tail, now_ns);
    decide_followers(tail);
    struct ahead ahead = {0};
    while (pendings->quiet_first != WEIR_SLOT_NONE) {
        uint32_t slot = pendings->quiet_first;
        if ((uint64_t)(now_ms - weir_pending_at(pendings, slot)->last_ms) * WEIR_MS < tail->quiet_ns) break;
        look_ahead(tail, &ahead, true);
        decide(tail, slot, WEIR_CAUSE_ROOT);
        if (rested(tail)) ahead.steps = 0;
    }
    ahead.steps = 0;
    while (pendings->wait_first != WEIR_SLOT_NONE) {
        uint32_t slot = pendings->wait_first;
        if ((uint64_t)(now_ms - weir_pending_at(pendings, slot)->born_ms) * WEIR_MS < tail->wait_ns) break;
        look_ahead(tail, &ahead, false);
        decide(tail, slot, WEIR_CAUSE_WAIT);
        if (rested(tail)) ahead.steps = 0;
    }
    for (int g = 0; g < WEIR_GENERATIONS; g++) {
        struct weir_generation *generation = &tail->generations[g];
        if (generation->decider == NULL) continue;
        weir_decider_tick(generation->decider, now_ns);
        if (generation->shadow != NULL) weir_decider_tick(generation->shadow, now_ns);
        if (generation->traces == 0 && g != tail->current) weir_generation_retire(tail, generation);
    }
    rewrite_sparse(tail);
    weir_tail_metrics_tell(tail);
    tail->under_way = false;
}

void weir_tail_drain(struct weir_tail *tail, uint64_t now_ns) {
    bool within = tail->under_way; /* of a reload */
    tail->now_ns = now_ns;
    tail->under_way = true;
    decide_followers(tail);
    while (tail->pendings.wait_first != WEIR_SLOT_NONE)
        decide(tail, tail->pendings.wait_first, WEIR_CAUSE_DRAIN);
    flush_deciders(tail);
    weir_tail_metrics_tell(tail);
    tail->under_way = within;
}

void weir_tail_watch(struct weir_tail *tail, bool dropped_too) {
    tail->watched = dropped_too;
}

/* Making room for a block decides traces, and so calls back: within that, and within the writing of a record, blocks
 * are half of what they were. */
bool weir_tail_seal(struct weir_tail *tail) {
    if (tail->under_way) return false;
    tail->under_way = true;
    bool all = weir_blocks_seal(tail->blocks);
    tail->under_way = false;
    return all;
}

bool weir_tail_under_way(const struct weir_tail *tail) {
    return tail->under_way;
}

uint64_t weir_tail_held(const struct weir_tail *tail) {
    return tail->spans;
}
uint64_t weir_tail_pending(const struct weir_tail *tail) {
    return tail->pendings.count;
}
struct weir_decisions *weir_tail_decisions(struct weir_tail *tail) {
    return tail->decisions;
}

/* ---- beginning and end ---- */

static uint64_t sealed(void *self, const uint8_t *bytes, size_t size, uint32_t records) {
    const struct weir_tail_journal *journal = ((struct weir_tail *)self)->env.journal;
    return journal->sealed(journal->self, bytes, size, records);
}
static void gone(void *self, uint64_t token) {
    const struct weir_tail_journal *journal = ((struct weir_tail *)self)->env.journal;
    journal->release(journal->self, token);
}

struct weir_tail *weir_tail_new(const struct weir_tail_env *env, struct weir_policy *policy, struct weir_policy *shadow,
                                uint64_t now_ns) {
    struct weir_tail *tail = calloc(1, sizeof *tail);
    if (tail == NULL) return NULL;
    tail->env = *env;
    tail->began_ns = tail->now_ns = now_ns;
    tail->current = -1;
    tail->busy = WEIR_SLOT_NONE;
    tail->walk = calloc(1, sizeof *tail->walk);
    struct weir_blocks_env blocks = {.self = tail, .room = room};
    if (tail->walk != NULL) tail->walk->names = env->names;
    if (!weir_pendings_init(&tail->pendings) || tail->walk == NULL || !weir_tail_metrics_open(tail)) goto fail;
    if (env->journal != NULL) {
        blocks.sealed = sealed;
        blocks.gone = gone;
    }
    tail->blocks = weir_blocks_new(&blocks);
    if (tail->blocks == NULL || !weir_tail_adopt(tail, policy, shadow)) goto fail;
    return tail;
fail:
    weir_tail_free(tail);
    return NULL;
}

void weir_tail_reload(struct weir_tail *tail, struct weir_policy *policy, struct weir_policy *shadow, uint64_t now_ns) {
    tail->now_ns = now_ns;
    tail->under_way = true;
    weir_tail_adopt(tail, policy, shadow);
    tail->busy = WEIR_SLOT_NONE;
    room(tail, 0);
    tail->under_way = false;
}

void weir_tail_free(struct weir_tail *tail) {
    if (tail == NULL) return;
    for (int g = 0; g < WEIR_GENERATIONS; g++) {
        if (tail->generations[g].policy != NULL) weir_generation_retire(tail, &tail->generations[g]);
    }
    weir_blocks_free(tail->blocks);
    weir_pendings_free(&tail->pendings);
    weir_decisions_free(tail->decisions);
    weir_tail_metrics_close(tail);
    free(tail->follows);
    free(tail->walk);
    free(tail);
}
