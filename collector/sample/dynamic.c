#include "collector/sample/dynamic.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double second_ns = 1e9;
enum { KEY_BURST = 2, ALL_BURST = 4 }; /* times what was reckoned with */

struct key {
    uint64_t hash;
    double rate;                        /* p, worked out at the end of the last slot */
    double planned;                     /* traces that `rate` would have kept in this slot */
    float seen;                         /* traces in this slot */
    float stood_for;                    /* in this slot: what they stood for, upstream thinning undone */
    bool fresh;                         /* not seen before this slot: has no rate yet */
    float was_seen[WEIR_DYNAMIC_SLOTS]; /* of earlier slots, a ring */
    float did_stand_for[WEIR_DYNAMIC_SLOTS];
};

struct weir_dynamic {
    struct weir_dynamic_config config;
    uint64_t slot_ns, end_ns;
    double slot_s, goal;    /* traces a second, of this lane; 0 = share */
    uint32_t slots;         /* of a window */
    uint32_t slot, history; /* next place in the rings; slots that have passed, up to all */
    /* of this slot */
    double level_per_slot;       /* L; before the first slot has passed no key has a rate that needs it */
    double reckoned_with;        /* traces in all */
    double seen, fresh_seen;     /* so far */
    double planned;              /* would have been kept, had the cut at ALL_BURST not been */
    struct key *keys;            /* [0] is shared by all that find no place */
    uint32_t key_count;          /* with [0] */
    uint32_t *index, index_mask; /* 1 + place in keys[]; 0 = free */
    double *scratch;             /* [keys_max + 1] */
};

/* Slots are as short as they may be while ten traces a slot are the goal; a share has no such number. */
static uint32_t slots_for(double goal_of_window) {
    double slots = goal_of_window > 0 ? goal_of_window / 10 : WEIR_DYNAMIC_SLOTS;
    if (slots >= WEIR_DYNAMIC_SLOTS) return WEIR_DYNAMIC_SLOTS;
    return slots > 3 ? (uint32_t)slots : 3;
}

struct weir_dynamic *weir_dynamic_new(const struct weir_dynamic_config *config, uint32_t lanes, uint64_t now_ns) {
    struct weir_dynamic *dynamic = calloc(1, sizeof *dynamic);
    if (dynamic == NULL) return NULL;
    dynamic->config = *config;
    dynamic->goal = config->traces_per_second / (lanes == 0 ? 1 : lanes);
    dynamic->slots = slots_for(dynamic->goal * (double)config->window_ns / second_ns);
    dynamic->slot_ns = config->window_ns / dynamic->slots;
    if (dynamic->slot_ns == 0) dynamic->slot_ns = 1;
    dynamic->slot_s = (double)dynamic->slot_ns / second_ns;
    dynamic->end_ns = now_ns + dynamic->slot_ns;
    uint32_t places = 4;
    while (places < 2 * (uint64_t)config->keys_max + 2 && places < 1u << 31)
        places *= 2;
    dynamic->index_mask = places - 1;
    dynamic->index = calloc(places, sizeof *dynamic->index);
    dynamic->keys = calloc((size_t)config->keys_max + 1, sizeof *dynamic->keys);
    dynamic->scratch = calloc((size_t)config->keys_max + 1, sizeof *dynamic->scratch);
    if (dynamic->index == NULL || dynamic->keys == NULL || dynamic->scratch == NULL) {
        weir_dynamic_free(dynamic);
        return NULL;
    }
    dynamic->key_count = 1;
    dynamic->keys[0].fresh = true;
    return dynamic;
}

void weir_dynamic_free(struct weir_dynamic *dynamic) {
    if (dynamic == NULL) return;
    free(dynamic->index);
    free(dynamic->keys);
    free(dynamic->scratch);
    free(dynamic);
}

uint32_t weir_dynamic_keys(const struct weir_dynamic *dynamic) {
    return dynamic->key_count - 1;
}

uint64_t weir_dynamic_memory(const struct weir_dynamic *dynamic) {
    return sizeof *dynamic + (dynamic->index_mask + 1ull) * sizeof *dynamic->index +
           dynamic->key_count * (sizeof *dynamic->keys + sizeof *dynamic->scratch);
}

/* ---- keys ---- */

static uint64_t mix(uint64_t a, uint64_t b) { /* the finish of splitmix64 */
    uint64_t z = a * 0x9e3779b97f4a7c15ull + b;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return z ^ z >> 31;
}

static uint64_t hash_of(const struct weir_dynamic_config *config, const struct weir_trace *trace) {
    uint64_t hash = 1;
    for (uint32_t i = 0; i < config->field_count; i++) {
        uint32_t value = 0;
        switch (config->fields[i]) {
        case WEIR_DYNAMIC_SERVICE: value = trace->service; break;
        case WEIR_DYNAMIC_OPERATION: value = trace->operation; break;
        case WEIR_DYNAMIC_STATUS: value = (trace->flags & WEIR_TRACE_ERROR) != 0; break;
        case WEIR_DYNAMIC_HTTP_STATUS: value = trace->http_status; break;
        case WEIR_DYNAMIC_VALUE_0: value = trace->values[0]; break;
        case WEIR_DYNAMIC_VALUE_1: value = trace->values[1]; break;
        }
        hash = mix(hash, value);
    }
    return hash;
}

static void enter(struct weir_dynamic *dynamic, uint32_t place) {
    uint32_t at = (uint32_t)dynamic->keys[place].hash & dynamic->index_mask;
    while (dynamic->index[at] != 0)
        at = (at + 1) & dynamic->index_mask;
    dynamic->index[at] = place + 1;
}

static struct key *key_of(struct weir_dynamic *dynamic, const struct weir_trace *trace) {
    uint64_t hash = hash_of(&dynamic->config, trace);
    for (uint32_t at = (uint32_t)hash & dynamic->index_mask; dynamic->index[at] != 0;
         at = (at + 1) & dynamic->index_mask) {
        struct key *key = &dynamic->keys[dynamic->index[at] - 1];
        if (key->hash == hash) return key;
    }
    if (dynamic->key_count > dynamic->config.keys_max) return &dynamic->keys[0];
    uint32_t place = dynamic->key_count++;
    dynamic->keys[place] = (struct key){.hash = hash, .fresh = true};
    enter(dynamic, place);
    return &dynamic->keys[place];
}

/* ---- slots ---- */

/* Traces a second. The mean of the window, unless the last slot was so far above it that chance does not explain it
 * (twice, and three standard errors of a Poisson count, and 3 for keys that hardly ever come). */
static double rate_of(const struct weir_dynamic *dynamic, double total, double last) {
    double mean = total / dynamic->history;
    return (last > 2 * mean + 3 * sqrt(mean) + 3 ? last : mean) / dynamic->slot_s;
}

static double total_of(const float *ring) {
    double total = 0;
    for (uint32_t i = 0; i < WEIR_DYNAMIC_SLOTS; i++)
        total += (double)ring[i];
    return total;
}

/* Puts what was counted into the rings, and takes keys away that the whole window has not seen. */
static void turn(struct weir_dynamic *dynamic) {
    uint32_t kept = 0, before = dynamic->key_count;
    for (uint32_t i = 0; i < before; i++) {
        struct key *key = &dynamic->keys[i];
        key->was_seen[dynamic->slot] = key->seen;
        key->did_stand_for[dynamic->slot] = key->stood_for;
        key->seen = key->stood_for = 0;
        key->planned = 0;
        if (i > 0 && total_of(key->was_seen) == 0) continue;
        if (kept != i) dynamic->keys[kept] = *key;
        kept++;
    }
    dynamic->key_count = kept;
    if (kept != before) {
        memset(dynamic->index, 0, (dynamic->index_mask + 1ull) * sizeof *dynamic->index);
        for (uint32_t i = 1; i < kept; i++)
            enter(dynamic, i);
    }
    dynamic->slot = (dynamic->slot + 1) % dynamic->slots;
    if (dynamic->history < dynamic->slots) dynamic->history++;
    dynamic->seen = dynamic->fresh_seen = dynamic->planned = 0;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double weir_dynamic_level(double *rates, uint32_t count, double goal) {
    qsort(rates, count, sizeof *rates, compare);
    for (uint32_t i = 0; i < count; i++) {
        double level = goal / (count - i);
        if (rates[i] >= level) return level;
        goal -= rates[i];
    }
    return goal + (count > 0 ? rates[count - 1] : 0);
}

static void work_out(struct weir_dynamic *dynamic) {
    uint32_t last = (dynamic->slot + dynamic->slots - 1) % dynamic->slots, count = 0;
    double all = 0;
    for (uint32_t i = 0; i < dynamic->key_count; i++) {
        const struct key *key = &dynamic->keys[i];
        double rate = rate_of(dynamic, total_of(key->was_seen), (double)key->was_seen[last]);
        all += rate;
        if (rate > 0) dynamic->scratch[count++] = rate;
    }
    double goal = dynamic->goal > 0 ? dynamic->goal : dynamic->config.share * all;
    double level = weir_dynamic_level(dynamic->scratch, count, goal);
    for (uint32_t i = 0; i < dynamic->key_count; i++) {
        struct key *key = &dynamic->keys[i];
        double total = total_of(key->was_seen);
        key->fresh = total == 0; /* only the shared one */
        if (key->fresh) continue;
        double rate = rate_of(dynamic, total, (double)key->was_seen[last]);
        /* n x what one of them stands for: a key that came thinned to a tenth has all its R in the upper tenth. */
        key->rate = rate <= level ? 1 : level / rate * total / total_of(key->did_stand_for);
    }
    dynamic->level_per_slot = level * dynamic->slot_s;
    dynamic->reckoned_with = all * dynamic->slot_s;
}

void weir_dynamic_tick(struct weir_dynamic *dynamic, uint64_t now_ns) {
    if (now_ns < dynamic->end_ns) return;
    uint64_t slots = (now_ns - dynamic->end_ns) / dynamic->slot_ns + 1;
    dynamic->end_ns += slots * dynamic->slot_ns;
    /* A window's worth of empty slots leaves nothing; more change nothing. */
    for (uint64_t i = 0; i < slots && i <= dynamic->slots; i++)
        turn(dynamic);
    work_out(dynamic);
}

/* ---- one trace ---- */

static double least(double a, double b) {
    return a < b ? a : b;
}

/* So many times what was reckoned with, and three standard errors: chance is no burst. */
static double with_chance(double times, double traces) {
    return times * traces + 3 * sqrt(traces);
}

double weir_dynamic_rate(struct weir_dynamic *dynamic, const struct weir_trace *trace, uint64_t now_ns,
                         bool *overflowed) {
    weir_dynamic_tick(dynamic, now_ns);
    struct key *key = key_of(dynamic, trace);
    double stands_for = weir_trace_stands_for(trace);
    *overflowed = key == dynamic->keys;
    key->seen += 1;
    key->stood_for += (float)stands_for;
    dynamic->seen += 1;

    /* How much more came than was reckoned with: a share is of all that come, a throughput stays what it is. */
    double swell = dynamic->goal > 0 || dynamic->reckoned_with == 0 ? 1 : dynamic->seen / dynamic->reckoned_with;
    if (swell < 1) swell = 1;
    double slot_goal =
        dynamic->goal > 0
            ? dynamic->goal * dynamic->slot_s
            : dynamic->config.share * (dynamic->reckoned_with > dynamic->seen ? dynamic->reckoned_with : dynamic->seen);
    /* `part` is of the traces that come, the answer of what they stand for. */
    double part, whole = 1;
    if (key->fresh) {
        dynamic->fresh_seen += 1;
        part = least(1, slot_goal / dynamic->fresh_seen);
    } else {
        part = whole = least(1, key->rate * stands_for);
        key->planned += part;
        part *= least(1, with_chance(KEY_BURST, dynamic->level_per_slot * swell) / key->planned);
    }
    dynamic->planned += part;
    part *= least(1, with_chance(ALL_BURST, slot_goal) / dynamic->planned);
    if (part < whole) return part / stands_for;
    return key->fresh ? 1 : key->rate;
}
