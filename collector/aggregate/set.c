#include "collector/aggregate/set.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { EXACT_MIN = 16, EXACT_SLOTS_MAX = 512, REGISTER_BITS = 12, REGISTERS = 1 << REGISTER_BITS };

struct weir_set {
    uint64_t window_start_ns;
    double previous;     /* of the window before */
    uint32_t count;      /* exact: members; else: registers that are still 0 */
    uint32_t slot_count; /* exact; 0 = registers */
    double inverse_sum;  /* of 2^-register */
    union {
        uint64_t *slots; /* open addressing, 0 = free */
        uint8_t *registers;
    };
};

struct weir_set *weir_set_new(uint64_t now_ns) {
    struct weir_set *set = calloc(1, sizeof *set);
    if (set == NULL) return NULL;
    set->window_start_ns = now_ns;
    set->slot_count = EXACT_MIN;
    set->slots = calloc(set->slot_count, sizeof *set->slots);
    if (set->slots != NULL) return set;
    free(set);
    return NULL;
}

void weir_set_free(struct weir_set *set) {
    if (set == NULL) return;
    free(set->slots);
    free(set);
}

/* The slot that holds the member, or the free one that it belongs into. */
static uint32_t slot_of(const uint64_t *slots, uint32_t slot_count, uint64_t member) {
    uint32_t i = (uint32_t)(member >> 32) & (slot_count - 1);
    while (slots[i] != 0 && slots[i] != member)
        i = (i + 1) & (slot_count - 1);
    return i;
}

static void register_add(struct weir_set *set, uint64_t member) {
    uint8_t *at = &set->registers[member >> (64 - REGISTER_BITS)];
    uint64_t rest = member << REGISTER_BITS | 1ull << (REGISTER_BITS - 1);
    uint8_t rank = (uint8_t)(1 + __builtin_clzll(rest));
    if (rank <= *at) return;
    if (*at == 0) set->count--;
    set->inverse_sum += ldexp(1, -rank) - ldexp(1, -*at);
    *at = rank;
}

static bool to_registers(struct weir_set *set) {
    uint8_t *registers = calloc(REGISTERS, 1);
    if (registers == NULL) return false;
    uint64_t *slots = set->slots;
    uint32_t slot_count = set->slot_count;
    set->registers = registers;
    set->slot_count = 0;
    set->count = REGISTERS;
    set->inverse_sum = REGISTERS;
    for (uint32_t i = 0; i < slot_count; i++) {
        if (slots[i] != 0) register_add(set, slots[i]);
    }
    free(slots);
    return true;
}

static bool grow(struct weir_set *set) {
    uint32_t slot_count = set->slot_count * 2;
    if (slot_count > EXACT_SLOTS_MAX) return to_registers(set);
    uint64_t *slots = calloc(slot_count, sizeof *slots);
    if (slots == NULL) return false;
    for (uint32_t i = 0; i < set->slot_count; i++) {
        if (set->slots[i] != 0) slots[slot_of(slots, slot_count, set->slots[i])] = set->slots[i];
    }
    free(set->slots);
    set->slots = slots;
    set->slot_count = slot_count;
    return true;
}

bool weir_set_add(struct weir_set *set, uint64_t member) {
    if (member == 0) member = 1;
    if (set->slot_count != 0) {
        uint32_t i = slot_of(set->slots, set->slot_count, member);
        if (set->slots[i] == member) return true;
        if (set->count < set->slot_count / 2) {
            set->slots[i] = member;
            set->count++;
            return true;
        }
        return grow(set) && weir_set_add(set, member);
    }
    register_add(set, member);
    return true;
}

static double present(const struct weir_set *set) {
    if (set->slot_count != 0) return set->count;
    double m = REGISTERS, raw = 0.7213 / (1 + 1.079 / m) * m * m / set->inverse_sum;
    if (raw <= 2.5 * m && set->count > 0) raw = m * log(m / set->count);
    return floor(raw + 0.5);
}

bool weir_set_roll(struct weir_set *set, uint64_t window_ns, uint64_t now_ns) {
    uint64_t age_ns = now_ns - set->window_start_ns;
    if (now_ns < set->window_start_ns || age_ns < window_ns) return false;
    double before = weir_set_value(set);
    set->previous = age_ns < 2 * window_ns ? present(set) : 0;
    set->window_start_ns += age_ns / window_ns * window_ns;
    if (set->slot_count != 0) {
        memset(set->slots, 0, set->slot_count * sizeof *set->slots);
        set->count = 0;
    } else {
        memset(set->registers, 0, REGISTERS);
        set->count = REGISTERS;
        set->inverse_sum = REGISTERS;
    }
    return weir_set_value(set) != before;
}

double weir_set_value(const struct weir_set *set) {
    double now = present(set);
    return now > set->previous ? now : set->previous;
}
