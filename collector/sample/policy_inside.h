/* policy_inside.h - the tables of a policy; what policy.c (asks) and policy_read.c (builds) share.
 *   rates    (service, operation) -> threshold; operation 0 = the service's own rate
 *   sources  service              -> for each receiver, the 1/p of the first row of `sources:` that fits
 * Lookups are one or two probes of an array that is at most half full; a policy without rows is asked nothing. */
#ifndef WEIR_SAMPLE_POLICY_INSIDE_H
#define WEIR_SAMPLE_POLICY_INSIDE_H
#include "collector/core/ledger.h"
#include "collector/sample/policy.h"

#include <string.h>

struct policy_rate {
    uint64_t key; /* service << 32 | operation; 0 = empty: no rule is for the empty service */
    uint64_t threshold;
    bool has_operations; /* of a service's row: worth a second look */
};

struct policy_rates {
    struct policy_rate *slots;
    uint64_t shift; /* 64 - log2(slots) */
    uint32_t count, capacity;
};

/* What is declared for a service: 1/p by receiver; 0 = nothing is. */
struct policy_source {
    uint32_t service; /* 0 = empty */
    double prior[WEIR_RECEIVERS];
};

struct policy_source_row {
    int receiver;     /* -1 = any */
    uint32_t service; /* 0 = any */
    double prior;
    int line;
};

struct weir_policy {
    _Atomic uint32_t refs;
    uint64_t version;
    bool keeps_all, declares;
    struct weir_keep *keep;       /* NULL: no keep part */
    struct weir_proxies *proxies; /* NULL: no proxies part */
    uint64_t threshold;           /* of the collector's own rate */
    struct policy_rates rates;
    struct policy_source *sources;
    uint64_t source_shift;
    double any_service[WEIR_RECEIVERS]; /* for services that no row names */
    struct policy_source_row *rows;     /* as they stand in the file, for remarks */
    uint32_t row_count;
};

static inline uint64_t policy_mix(uint64_t key) {
    return (key ^ key >> 29) * 0x9e3779b97f4a7c15ull;
}

static inline int policy_receiver(const char *name) {
    for (int i = 0; i < WEIR_RECEIVERS; i++) {
        if (weir_receiver_names[i] == name || strcmp(weir_receiver_names[i], name) == 0) return i;
    }
    return -1;
}
#endif
