/* Any bytes as an answer to an ask of eight operations: what is believed is sane, the rest changes nothing. */
#include "emitter/policy.h"
#include "emitter/weir_emit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const uint64_t nonces[2] = {0x0807060504030201, 42};
    uint64_t thresholds[8] = {0};
    struct policy policy = {.version = 7, .threshold = 3, .thresholds = thresholds, .operations_max = 8};
    struct policy_news news;
    for (uint32_t i = 0; i < 2; i++)
        policy_asked(&policy, nonces[i], 7, 4 * i, 4);
    enum policy_verdict verdict = policy_hear(&policy, data, size, 1400, &news);
    if (verdict != POLICY_TAKEN) {
        if (policy.version != 7 || policy.threshold != 3) abort();
        return 0;
    }
    if (policy.threshold > WEIR_EMIT_NEVER || news.count > 4 || news.first + news.count > 8) abort();
    for (uint32_t i = 0; i < news.count; i++) {
        if (news.thresholds[i] > WEIR_EMIT_NEVER) abort();
    }
    if (policy_hear(&policy, data, size, 1400, &news) == POLICY_TAKEN) abort(); /* once */
    return 0;
}
