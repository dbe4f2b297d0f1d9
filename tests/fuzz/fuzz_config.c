/* Any bytes as weir.yaml and as sampling.yaml: accepted, or refused with a place and a reason. */
#include "collector/config/load.h"
#include "collector/sample/plan.h"
#include "collector/sample/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ignore(void *self, int line, const char *text) {
    (void)self;
    if (line < 1 || *text == 0) abort();
}

static void check_told(const struct weir_plan_service *service) {
    if (!(service->rate.rate >= 0 && service->rate.rate <= 1)) abort();
    for (uint32_t i = 0; i < service->operation_count; i++) {
        const struct weir_plan_rate *row = &service->operations[i];
        if (!(row->rate >= 0 && row->rate <= 1) || row->name == WEIR_NAME_NONE) abort();
        if (weir_plan_rate_of(service, row->operation) != row) abort();
    }
}

static void check_proxies(const struct weir_proxies *proxies, const struct weir_names *names) {
    struct weir_plan *plan = weir_plan_of(proxies, 1, names, 0);
    if (plan == NULL) abort();
    check_told(&plan->fallback);
    for (uint32_t i = 0; i < proxies->service_count; i++) {
        uint32_t name = proxies->services[i].rule.name;
        if (weir_proxies_find(proxies, name) != &proxies->services[i]) abort();
        if (weir_plan_find(plan, name)->rate.name != name) abort();
        check_told(weir_plan_find(plan, name));
    }
    weir_plan_unref(plan);
}

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
        weir_policy_remarks(policy, 0, ignore, NULL);
        if (weir_policy_proxies(policy) != NULL) check_proxies(weir_policy_proxies(policy), names);
    } else if (strncmp(err.text, "/w/", 3) != 0) {
        abort();
    }
    weir_policy_unref(policy);
    weir_names_free(names);
    return 0;
}
