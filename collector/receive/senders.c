#include "collector/receive/senders.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { NOBODY = 0 }; /* index into list[], whose first place is the ends of the line */

struct sender {
    uint64_t id, start_ns;
    uint64_t highest, first; /* sequence numbers heard */
    uint64_t seen;           /* bit i: highest - i was taken */
    uint64_t closed;         /* bit i: not heard, and counted lost or from before `first` */
    uint64_t ticked;         /* `highest` at the tick before */
    uint64_t heard_ns;
    struct weir_sender_note note;
    uint32_t newer, older; /* in the line of who was heard when */
    uint32_t hash;
    uint32_t next_free; /* while it is nobody's */
};

struct weir_senders {
    uint32_t max, used, free; /* places 1 .. used of list[] were given out; free: a list of those given back */
    uint32_t mask;            /* of slots[] */
    uint32_t *slots;          /* open addressing, linear; 0 = empty */
    uint64_t expiry_ns, seed;
    uint64_t tick_ns, tick_before_ns; /* when the last two were */
    struct weir_senders_counts counts;
    struct sender *list; /* list[0].older: the one heard last, list[0].newer: the one silent for longest */
};

struct weir_senders *weir_senders_new(uint32_t senders_max, uint64_t expiry_ns, uint64_t seed) {
    struct weir_senders *senders = calloc(1, sizeof *senders);
    if (senders == NULL) return NULL;
    uint32_t slots = 16;
    while (slots < 2 * senders_max)
        slots *= 2;
    senders->max = senders_max;
    senders->mask = slots - 1;
    senders->expiry_ns = expiry_ns;
    senders->seed = seed;
    senders->slots = calloc(slots, sizeof *senders->slots);
    senders->list = calloc((size_t)senders_max + 1, sizeof *senders->list); /* untouched pages cost nothing */
    if (senders->slots == NULL || senders->list == NULL) {
        weir_senders_free(senders);
        return NULL;
    }
    return senders;
}

void weir_senders_free(struct weir_senders *senders) {
    if (senders == NULL) return;
    free(senders->slots);
    free(senders->list);
    free(senders);
}

void weir_senders_set_expiry(struct weir_senders *senders, uint64_t expiry_ns) {
    senders->expiry_ns = expiry_ns;
}

const struct weir_senders_counts *weir_senders_counts(const struct weir_senders *senders) {
    return &senders->counts;
}

/* ---- the line: who was heard last stands first ---- */

static void leave_line(struct weir_senders *senders, uint32_t index) {
    struct sender *sender = &senders->list[index];
    senders->list[sender->newer].older = sender->older;
    senders->list[sender->older].newer = sender->newer;
}

static void join_line(struct weir_senders *senders, uint32_t index) {
    struct sender *sender = &senders->list[index], *ends = &senders->list[NOBODY];
    sender->newer = NOBODY;
    sender->older = ends->older;
    senders->list[ends->older].newer = index;
    ends->older = index;
}

/* ---- the table ---- */

static uint32_t hash_of(const struct weir_senders *senders, uint64_t id, uint64_t start_ns) {
    uint64_t both[2] = {id, start_ns};
    return (uint32_t)XXH3_64bits_withSeed(both, sizeof both, senders->seed);
}

/* The slot that holds it, or the empty one where it would stand. */
static uint32_t slot_of(const struct weir_senders *senders, uint32_t hash, uint64_t id, uint64_t start_ns) {
    for (uint32_t slot = hash & senders->mask;; slot = (slot + 1) & senders->mask) {
        const struct sender *sender = &senders->list[senders->slots[slot]];
        if (senders->slots[slot] == NOBODY || (sender->id == id && sender->start_ns == start_ns)) return slot;
    }
}

/* Empties a slot; those behind it that would not be found any more move up. */
static void clear_slot(struct weir_senders *senders, uint32_t slot) {
    uint32_t hole = slot;
    for (uint32_t at = (slot + 1) & senders->mask; senders->slots[at] != NOBODY; at = (at + 1) & senders->mask) {
        uint32_t home = senders->list[senders->slots[at]].hash & senders->mask;
        if (((at - home) & senders->mask) < ((at - hole) & senders->mask)) continue;
        senders->slots[hole] = senders->slots[at];
        hole = at;
    }
    senders->slots[hole] = NOBODY;
}

/* ---- windows ---- */

static void count_holes(struct weir_senders *senders, struct sender *sender, uint64_t among) {
    uint64_t holes = ~sender->seen & ~sender->closed & among;
    senders->counts.lost += (uint64_t)__builtin_popcountll(holes);
    sender->closed |= holes;
}

/* The lowest `count` bits; count <= 64. */
static uint64_t low_bits(uint64_t count) {
    return count >= 64 ? UINT64_MAX : (1ull << count) - 1;
}

static void begin_window(struct sender *sender, uint64_t sequence) {
    sender->highest = sender->first = sender->ticked = sequence;
    sender->seen = 1;
    sender->closed = ~1ull;
}

static void advance(struct weir_senders *senders, struct sender *sender, uint64_t sequence) {
    uint64_t by = sequence - sender->highest;
    if (by > WEIR_SENDER_JUMP_MAX) {
        count_holes(senders, sender, UINT64_MAX);
        begin_window(sender, sequence);
        return;
    }
    /* What the window leaves behind, and what it jumps over. */
    count_holes(senders, sender, ~low_bits(by < WEIR_SENDER_WINDOW ? WEIR_SENDER_WINDOW - by : 0));
    if (by >= WEIR_SENDER_WINDOW) {
        senders->counts.lost += by - WEIR_SENDER_WINDOW;
        sender->seen = 1;
        sender->closed = 0;
    } else {
        sender->seen = sender->seen << by | 1;
        sender->closed <<= by;
    }
    sender->highest = sequence;
}

static enum weir_sender_verdict go_back(struct weir_senders *senders, struct sender *sender, uint64_t sequence) {
    uint64_t back = sender->highest - sequence, bit = 1ull << (back % WEIR_SENDER_WINDOW);
    if (back > WEIR_SENDER_JUMP_MAX) { /* one that said a number from nowhere goes on where it was */
        count_holes(senders, sender, UINT64_MAX);
        begin_window(sender, sequence);
        return WEIR_SENDER_TAKE;
    }
    if (back >= WEIR_SENDER_WINDOW) return WEIR_SENDER_BEHIND;
    if ((sender->seen & bit) != 0) {
        senders->counts.duplicate++;
        return WEIR_SENDER_DUPLICATE;
    }
    senders->counts.reordered++;
    if ((sender->closed & bit) != 0 && sequence > sender->first) senders->counts.late++;
    sender->seen |= bit;
    sender->closed &= ~bit;
    return WEIR_SENDER_TAKE;
}

/* ---- senders ---- */

static void forget(struct weir_senders *senders, uint32_t index) {
    struct sender *sender = &senders->list[index];
    count_holes(senders, sender, UINT64_MAX);
    clear_slot(senders, slot_of(senders, sender->hash, sender->id, sender->start_ns));
    leave_line(senders, index);
    sender->next_free = senders->free;
    senders->free = index;
    senders->counts.senders--;
}

static uint32_t add(struct weir_senders *senders, uint32_t hash, uint64_t id, uint64_t start_ns, uint64_t sequence) {
    if (senders->counts.senders == senders->max) {
        forget(senders, senders->list[NOBODY].newer);
        senders->counts.evicted++;
    }
    uint32_t index = senders->free;
    if (index != NOBODY) {
        senders->free = senders->list[index].next_free;
    } else {
        index = ++senders->used;
    }
    senders->slots[slot_of(senders, hash, id, start_ns)] = index; /* after forget(), which moves slots */
    senders->list[index] = (struct sender){.id = id, .start_ns = start_ns, .hash = hash};
    begin_window(&senders->list[index], sequence);
    join_line(senders, index);
    senders->counts.senders++;
    return index;
}

enum weir_sender_verdict weir_senders_hear(struct weir_senders *senders, uint64_t id, uint64_t start_ns,
                                           uint64_t sequence, uint64_t now_ns) {
    uint32_t last = senders->list[NOBODY].older, index = last; /* mostly the one that was heard a moment ago */
    if (last == NOBODY || senders->list[last].id != id || senders->list[last].start_ns != start_ns) {
        uint32_t hash = hash_of(senders, id, start_ns);
        index = senders->slots[slot_of(senders, hash, id, start_ns)];
        if (index == NOBODY) {
            index = add(senders, hash, id, start_ns, sequence);
            senders->list[index].heard_ns = now_ns;
            return WEIR_SENDER_TAKE;
        }
        leave_line(senders, index);
        join_line(senders, index);
    }
    struct sender *sender = &senders->list[index];
    sender->heard_ns = now_ns;
    if (sequence <= sender->highest) return go_back(senders, sender, sequence);
    advance(senders, sender, sequence);
    return WEIR_SENDER_TAKE;
}

struct weir_sender_note *weir_senders_note(struct weir_senders *senders) {
    assert(senders->list[NOBODY].older != NOBODY);
    return &senders->list[senders->list[NOBODY].older].note;
}

uint64_t weir_senders_tick(struct weir_senders *senders, uint64_t now_ns, uint64_t tick_ns) {
    for (uint32_t oldest; (oldest = senders->list[NOBODY].newer) != NOBODY;) {
        if (now_ns - senders->list[oldest].heard_ns < senders->expiry_ns) break;
        forget(senders, oldest);
    }
    bool lately = false;
    for (uint32_t index = senders->list[NOBODY].older; index != NOBODY; index = senders->list[index].older) {
        struct sender *sender = &senders->list[index];
        /* Who was silent over the last two ticks has no hole that they did not count; nor have those behind. */
        if (sender->heard_ns < senders->tick_before_ns) break;
        lately = true;
        uint64_t since = sender->highest - sender->ticked;
        if (since < WEIR_SENDER_WINDOW) count_holes(senders, sender, ~low_bits(since));
        sender->ticked = sender->highest;
    }
    senders->tick_before_ns = senders->tick_ns;
    senders->tick_ns = now_ns;
    uint32_t oldest = senders->list[NOBODY].newer;
    if (oldest == NOBODY) return 0;
    uint64_t due_ns = senders->list[oldest].heard_ns + senders->expiry_ns;
    return lately || due_ns < now_ns + tick_ns ? tick_ns : due_ns - now_ns;
}

void weir_senders_settle(struct weir_senders *senders) {
    for (uint32_t index = senders->list[NOBODY].older; index != NOBODY; index = senders->list[index].older)
        count_holes(senders, &senders->list[index], UINT64_MAX);
}
