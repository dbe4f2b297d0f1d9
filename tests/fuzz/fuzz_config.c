/* Any bytes as weir.yaml and as sampling.yaml: accepted, or refused with a place and a reason. */
#include "collector/config/load.h"
#include "collector/sample/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct weir_machine machine = {
        .host = "127.0.0.1", .lanes = 2, .memory_bytes = 1 << 30, .memory_what = "the test"};
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    if (weir_config_parse("/w/weir.yaml", data, size, &machine, &config, &err) != WEIR_OK &&
        strncmp(err.text, "/w/", 3) != 0)
        abort();
    weir_config_free(config);

    struct weir_names *names = weir_names_new(64, 8192);
    struct weir_policy *policy = NULL;
    if (weir_policy_parse("/w/sampling.yaml", data, size, names, &policy, &err) == WEIR_OK) {
        struct weir_span span = {.service = 2, .operation = 3, .randomness = 1ull << 55, .prior = 1};
        weir_policy_weigh(policy, "grpc", &span);
        weir_policy_keep(policy, &span);
        if (!(weir_span_weight(&span) >= 1)) abort();
    } else if (strncmp(err.text, "/w/", 3) != 0) {
        abort();
    }
    weir_policy_unref(policy);
    weir_names_free(names);
    return 0;
}
