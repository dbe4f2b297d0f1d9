#include "exporters/otlp/balance.h"

#include <string.h>
#include <xxhash.h>

bool weir_otlp_breaker_lets(const struct weir_otlp_breaker *breaker, uint64_t now_ns) {
    return !breaker->open || (!breaker->trying && now_ns >= breaker->try_ns);
}

void weir_otlp_breaker_sent(struct weir_otlp_breaker *breaker) {
    breaker->trying = breaker->open;
}

void weir_otlp_breaker_good(struct weir_otlp_breaker *breaker) {
    *breaker = (struct weir_otlp_breaker){.open = false};
}

bool weir_otlp_breaker_bad(struct weir_otlp_breaker *breaker, uint64_t now_ns, uint64_t initial_ns, uint64_t max_ns,
                           uint64_t random) {
    if (breaker->open && !breaker->trying) return false; /* sent before it opened */
    bool opens = !breaker->open;
    uint64_t delay_ns = initial_ns;
    for (uint32_t i = 0; i < breaker->failures && delay_ns < max_ns; i++)
        delay_ns *= 2;
    if (delay_ns > max_ns) delay_ns = max_ns;
    breaker->failures++;
    breaker->open = true;
    breaker->trying = false;
    breaker->try_ns = now_ns + delay_ns - random % (delay_ns / 2 + 1);
    return opens;
}

uint64_t weir_otlp_seed(const char *name) {
    return XXH64(name, strlen(name), 0);
}

/* Source: Vigna, splitmix64: its output function, a mixer of 64 bits. */
static uint64_t mix(uint64_t x) {
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

void weir_otlp_rank(const uint64_t *seeds, uint32_t count, uint64_t trace, uint8_t *order) {
    uint64_t scores[WEIR_ENDPOINTS_MAX];
    for (uint32_t i = 0; i < count; i++) {
        uint64_t score = mix(mix(trace) ^ seeds[i]);
        uint32_t at = i;
        for (; at > 0 && scores[at - 1] < score; at--) {
            scores[at] = scores[at - 1];
            order[at] = order[at - 1];
        }
        scores[at] = score;
        order[at] = (uint8_t)i;
    }
}
