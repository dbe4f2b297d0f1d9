#include "collector/spool/decided.h"
#include "collector/core/wire.h"

#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <xxhash.h>

/* ---- bytes ---- */

enum { FIXED_BYTES = 25 };
#define KEPT (1ull << 63)

bool weir_decided_write(struct weir_buffer *out, uint64_t trace_hi, uint64_t trace_lo,
                        const struct weir_verdict *verdict, const struct weir_names *names) {
    size_t size;
    const char *name = weir_names_text(names, verdict->rule_name, &size);
    if (size > UINT8_MAX) size = UINT8_MAX;
    const uint64_t words[3] = {trace_hi, trace_lo, verdict->threshold | (verdict->kept ? KEPT : 0)};
    if (!weir_buffer_room(out, FIXED_BYTES + size)) return false;
    weir_buffer_put(out, words, sizeof words);
    weir_buffer_byte(out, (uint8_t)size);
    weir_buffer_put(out, name, size);
    return true;
}

enum weir_status weir_decided_read(const uint8_t *bytes, size_t size, struct weir_names *names,
                                   void (*one)(void *self, uint64_t trace_hi, uint64_t trace_lo,
                                               const struct weir_verdict *verdict),
                                   void *self, struct weir_error *err) {
    for (size_t at = 0; at < size; at += FIXED_BYTES + bytes[at + FIXED_BYTES - 1]) {
        if (size - at < FIXED_BYTES || size - at - FIXED_BYTES < bytes[at + FIXED_BYTES - 1])
            return weir_fail(err, WEIR_INVALID, 0, false, "journal: a decision at byte %zu is cut short", at);
    }
    for (size_t at = 0; at < size; at += FIXED_BYTES + bytes[at + FIXED_BYTES - 1]) {
        uint64_t words[3];
        memcpy(words, bytes + at, sizeof words);
        struct weir_verdict verdict = {.kept = (words[2] & KEPT) != 0, .rule = WEIR_RULE_NONE};
        verdict.threshold = words[2] & ~KEPT;
        if (verdict.threshold > WEIR_THRESHOLD_MAX) verdict.threshold = WEIR_THRESHOLD_MAX;
        verdict.rule_name = weir_names_intern(names, bytes + at + FIXED_BYTES, bytes[at + FIXED_BYTES - 1]);
        one(self, words[0], words[1], &verdict);
    }
    return WEIR_OK;
}

/* ---- the table ---- */

struct entry {
    uint64_t trace_hi, trace_lo;
    uint64_t threshold; /* bit 63: kept; bit 62: the entry is taken */
    uint32_t rule_name;
    uint32_t segment; /* counted from the first, which has the log's oldest number */
};
#define TAKEN (1ull << 62)

struct weir_decided {
    struct entry *entries; /* open addressing by trace_lo */
    uint64_t capacity;     /* a power of two, 0 before the first */
    uint64_t seed;         /* at random: ids are the senders' choice */
    uint64_t first_segment;
    uint32_t count, count_max;
};

struct weir_decided *weir_decided_new(uint32_t count_max) {
    struct weir_decided *decided = calloc(1, sizeof *decided);
    if (decided == NULL) return NULL;
    decided->count_max = count_max;
    if (getrandom(&decided->seed, sizeof decided->seed, GRND_NONBLOCK) < 0) decided->seed = (uintptr_t)decided;
    return decided;
}

static uint64_t place(const struct weir_decided *decided, uint64_t trace_lo) {
    return XXH3_64bits_withSeed(&trace_lo, sizeof trace_lo, decided->seed) & (decided->capacity - 1);
}

static bool equal(const struct entry *entry, uint64_t trace_hi, uint64_t trace_lo) {
    return entry->trace_lo == trace_lo && (entry->trace_hi == trace_hi || entry->trace_hi == 0 || trace_hi == 0);
}

/* The trace's entry, or the free one where it would stand. *alike: passed on the way there, of the same low half. */
static struct entry *probe(const struct weir_decided *decided, uint64_t trace_hi, uint64_t trace_lo, uint32_t *alike) {
    uint64_t at = place(decided, trace_lo);
    *alike = 0;
    while ((decided->entries[at].threshold & TAKEN) != 0 && !equal(&decided->entries[at], trace_hi, trace_lo)) {
        *alike += decided->entries[at].trace_lo == trace_lo;
        at = (at + 1) & (decided->capacity - 1);
    }
    return &decided->entries[at];
}

static bool grow(struct weir_decided *decided) {
    struct weir_decided larger = *decided;
    uint32_t alike;
    larger.capacity = decided->capacity == 0 ? 1024 : decided->capacity * 2;
    larger.entries = calloc(larger.capacity, sizeof *larger.entries);
    if (larger.entries == NULL) return false;
    for (uint64_t i = 0; i < decided->capacity; i++) {
        const struct entry *old = &decided->entries[i];
        if ((old->threshold & TAKEN) != 0) *probe(&larger, old->trace_hi, old->trace_lo, &alike) = *old;
    }
    free(decided->entries);
    *decided = larger;
    return true;
}

bool weir_decided_put(struct weir_decided *decided, uint64_t trace_hi, uint64_t trace_lo,
                      const struct weir_verdict *verdict, uint64_t segment) {
    if (decided->count < decided->count_max && decided->count >= decided->capacity / 4 * 3 && !grow(decided))
        return false;
    if (decided->count == 0) decided->first_segment = segment;
    uint32_t alike;
    struct entry *entry = probe(decided, trace_hi, trace_lo, &alike);
    if ((entry->threshold & TAKEN) != 0) return true;
    if (decided->count >= decided->count_max || alike >= WEIR_DECIDED_ALIKE_MAX) return false;
    decided->count++;
    *entry = (struct entry){trace_hi, trace_lo, verdict->threshold | TAKEN | (verdict->kept ? KEPT : 0),
                            verdict->rule_name, (uint32_t)(segment - decided->first_segment)};
    return true;
}

bool weir_decided_find(const struct weir_decided *decided, uint64_t trace_hi, uint64_t trace_lo,
                       struct weir_verdict *verdict, uint64_t *segment) {
    if (decided->count == 0) return false;
    uint32_t alike;
    const struct entry *entry = probe(decided, trace_hi, trace_lo, &alike);
    if ((entry->threshold & TAKEN) == 0) return false;
    *verdict = (struct weir_verdict){.kept = (entry->threshold & KEPT) != 0, .rule = WEIR_RULE_NONE};
    verdict->rule_name = entry->rule_name;
    verdict->threshold = entry->threshold & ~(KEPT | TAKEN);
    *segment = decided->first_segment + entry->segment;
    return true;
}

uint32_t weir_decided_count(const struct weir_decided *decided) {
    return decided->count;
}

void weir_decided_free(struct weir_decided *decided) {
    if (decided == NULL) return;
    free(decided->entries);
    free(decided);
}
