/* Any text as OTLP/JSON: what is taken is protobuf that protobuf-c reads, within its memory, and that the walks take.
 */
#include "collector/decode/otlp.h"
#include "collector/decode/otlp_json.h"
#include "collector/decode/otlp_metrics.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool take_point(void *self, const struct weir_point *point) {
    (void)self, (void)point;
    return true;
}

static void take(enum weir_otlp_json_request what, const uint8_t *data, size_t size, struct weir_names *names) {
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_batch *batch = weir_batch_new(&budget, 0);
    struct weir_error err;
    enum weir_status status = weir_otlp_json(what, data, size, batch, &err);
    if (status != WEIR_OK && batch->size != 0) abort();
    if (status == WEIR_OK) {
        if (what == WEIR_OTLP_JSON_TRACES) {
            struct weir_otlp *otlp = weir_otlp_new(names);
            struct weir_otlp_counts counts;
            if (weir_otlp_decode(otlp, batch, &counts, &err) == WEIR_INVALID) abort();
            weir_otlp_free(otlp);
        } else {
            struct weir_otlp_metrics *metrics = weir_otlp_metrics_new(names, 64);
            const struct weir_otlp_metrics_calls calls = {.point = take_point};
            struct weir_otlp_metrics_counts counts = {0};
            if (weir_otlp_metrics_decode(metrics, batch->bytes, batch->size, &calls, &counts, &err) != WEIR_OK) abort();
            weir_otlp_metrics_free(metrics);
        }
    }
    weir_batch_unref(batch);
    if (budget.used_bytes != 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_names *names = weir_names_new(256, 64 * 1024);
    take(WEIR_OTLP_JSON_TRACES, data, size, names);
    take(WEIR_OTLP_JSON_METRICS, data, size, names);
    weir_names_free(names);
    return 0;
}
