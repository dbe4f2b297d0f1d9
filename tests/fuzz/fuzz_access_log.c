/* Lines of access logs: whatever comes is refused or becomes at most one span, and nothing stays drawn. */
#include "collector/decode/access_log.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void take_point(void *self, const struct weir_point *point) {
    if (point->key_size == 0) abort();
    ++*(unsigned *)self;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_names *names;
    if (names == NULL && (names = weir_names_new(16384, 1 << 20)) == NULL) abort();
    struct weir_budget budget = {.limit_bytes = 1 << 20};
    struct weir_otlp *otlp = weir_otlp_new(names);
    struct weir_batch *batch = weir_batch_new(&budget, 0);
    if (otlp == NULL || batch == NULL) abort();
    struct weir_access_log *log = weir_access_log_new(otlp, names, 128);
    unsigned points = 0;
    const struct weir_access_log_calls calls = {.self = &points, .point = take_point};
    enum weir_access_log_refusal why = WEIR_ACCESS_LOG_REFUSALS;
    struct weir_error err = {0};
    enum weir_status status = weir_access_log_decode(log, data, size, batch, &calls, &why, &err);
    if (status == WEIR_INVALID && (why >= WEIR_ACCESS_LOG_REFUSALS || err.text[0] == 0 || points > 0)) abort();
    if (batch->span_count > 1 || (status != WEIR_OK && batch->span_count > 0)) abort();
    weir_access_log_free(log);
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    if (budget.used_bytes != 0) abort();
    return 0;
}
