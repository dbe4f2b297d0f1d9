/* The rules of attributes on any span: what they leave is a sound span, holds no card number in its text, and is left
 * alone by the same rules. The first byte chooses the rules. */
#include "collector/attributes/rules.h"
#include "collector/config/load.h"
#include "collector/decode/otlp.h"
#include "collector/decode/redact.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const files[] = {
    "lanes: 1\n",
    "attributes:\n"
    "  - { keys: [a*], action: drop }\n"
    "  - { keys: ['*'], action: replace, pattern: '[b-d]+', replacement: '<$0>' }\n",
    "attributes:\n"
    "  - { keys: [http.*, b], action: keep }\n"
    "  - { keys: [b], action: replace, pattern: 'x*', replacement: '' }\n"
    "operations:\n"
    "  - { match: '^(\\w)', name: 'op $1' }\n",
};
enum { FILES = sizeof files / sizeof files[0] };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 1};
    static struct weir_rules *rules[FILES];
    static struct weir_names *names;
    if (size < 1) return 0;
    int chosen = data[0] % FILES;
    if (names == NULL && (names = weir_names_new(16384, 1 << 20)) == NULL) abort();
    if (rules[chosen] == NULL) {
        struct weir_config *config = NULL;
        struct weir_error err;
        if (weir_config_parse("f", (const uint8_t *)files[chosen], strlen(files[chosen]), &machine, &config, &err) !=
                WEIR_OK ||
            weir_rules_new(config, NULL, &rules[chosen], &err) != WEIR_OK)
            abort();
        weir_config_free(config);
    }
    struct weir_budget budget = {.limit_bytes = 8 << 20};
    struct weir_otlp *otlp = weir_otlp_new(names);
    struct weir_batch *batch = weir_batch_new(&budget, size);
    if (otlp == NULL || batch == NULL) abort();
    weir_otlp_set_rules(otlp, rules[chosen]);
    memcpy(batch->bytes, data + 1, size - 1);
    batch->size = size - 1;
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    struct weir_span span;
    if (weir_otlp_span(otlp, batch, 0, (uint32_t)(size - 1), &span, &counts, &err) == WEIR_OK) {
        struct weir_wire wire = weir_wire_of(batch->bytes + span.offset, span.size);
        if (chosen == 0) { /* the defaults leave nothing to themselves */
            struct weir_buffer again = {0};
            if (weir_redact(rules[0], WEIR_OTLP_SPAN, wire, &again)) abort();
            weir_buffer_free(&again);
        }
        struct weir_otlp_finding finding = {0};
        if (!weir_otlp_check(WEIR_OTLP_SPAN, wire, 0, &finding) || finding.bad_text) abort();
    }
    weir_batch_unref(batch);
    weir_otlp_free(otlp);
    if (budget.used_bytes != 0) abort();
    return 0;
}
