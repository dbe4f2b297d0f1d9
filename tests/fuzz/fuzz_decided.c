/* Decisions as the journal keeps them: a record is read whole or not at all, and what was read is found. */
#include "collector/spool/decided.h"

#include <stdlib.h>

struct again {
    struct weir_names *names;
    struct weir_decided *table;
    size_t count;
};

static void one(void *self, uint64_t trace_hi, uint64_t trace_lo, const struct weir_verdict *verdict) {
    struct again *again = self;
    struct weir_verdict found;
    uint64_t segment;
    again->count++;
    if (!weir_decided_put(again->table, trace_hi, trace_lo, verdict, again->count)) return;
    if (!weir_decided_find(again->table, trace_hi, trace_lo, &found, &segment) || segment > again->count) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct again again = {weir_names_new(1024, 1 << 20), weir_decided_new(2000), 0};
    enum weir_status status = weir_decided_read(data, size, again.names, one, &again, NULL);
    if (status != WEIR_OK && again.count != 0) abort();
    if (weir_decided_count(again.table) > again.count) abort();
    weir_decided_free(again.table);
    weir_names_free(again.names);
    return 0;
}
