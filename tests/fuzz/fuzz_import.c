/* Any bytes as rules of each of the three others: refused with a place and a reason, or what comes out is a policy
 * that Weir takes. */
#include "collector/cli/import/import.h"
#include "collector/core/names.h"
#include "collector/sample/policy.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    for (int from = WEIR_IMPORT_GUESS; from <= WEIR_IMPORT_REFINERY; from++) {
        struct weir_import_options options = {
            .from = (enum weir_import_from)from, .trace_spans = 10, .trace_bytes = 5000};
        struct weir_import_result result;
        struct weir_error err = {0};
        if (weir_import("/w/in", data, size, &options, &result, &err) == WEIR_OK) {
            struct weir_names *names = weir_names_new(8192, 4 << 20);
            struct weir_policy *policy = NULL;
            if (weir_policy_parse("/w/out", result.out.bytes, result.out.size, names, &policy, &err) != WEIR_OK)
                abort();
            weir_policy_unref(policy);
            weir_names_free(names);
        } else if (strncmp(err.text, "/w/in", 5) != 0) {
            abort();
        }
        weir_import_free(&result);
    }
    return 0;
}
