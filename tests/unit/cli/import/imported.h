/* imported.h - what an import says, and what Weir says to it. */
#ifndef WEIR_TESTS_CLI_IMPORTED_H
#define WEIR_TESTS_CLI_IMPORTED_H
#include "collector/cli/import/import.h"
#include "collector/core/names.h"
#include "collector/sample/keep.h"
#include "collector/sample/plan.h"
#include "collector/sample/policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct weir_import_result result;
static struct weir_error err;

static inline enum weir_status import_as(enum weir_import_from from, const char *part, const char *text) {
    struct weir_import_options options = {.from = from, .part = part, .trace_spans = 10, .trace_bytes = 5000};
    weir_import_free(&result);
    err.text[0] = 0;
    enum weir_status status = weir_import("in.yaml", (const uint8_t *)text, strlen(text), &options, &result, &err);
    if (status == WEIR_OK) {
        weir_buffer_byte(&result.out, 0);
        weir_buffer_byte(&result.notes, 0);
    }
    return status;
}

/* What came out is a policy that `weir check` takes. */
static inline void assert_passes(void) {
    struct weir_names *names = weir_names_new(8192, 4 << 20);
    struct weir_policy *policy = NULL;
    enum weir_status status =
        weir_policy_parse("out", result.out.bytes, strlen((char *)result.out.bytes), names, &policy, &err);
    if (status != WEIR_OK) print_error("%s\n%s\n", err.text, (char *)result.out.bytes);
    assert_int_equal(status, WEIR_OK);
    if (weir_policy_keep_part(policy) != NULL)
        assert_int_equal(weir_policy_keep_part(policy)->rule_count, result.rules);
    weir_policy_unref(policy);
    weir_names_free(names);
}

static inline void has(const char *part) {
    if (strstr((char *)result.out.bytes, part) != NULL) return;
    print_error("not there: %s\nin:\n%s\n", part, (char *)result.out.bytes);
    fail();
}
static inline void notes(const char *part) {
    if (strstr((char *)result.notes.bytes, part) != NULL) return;
    print_error("not there: %s\nin:\n%s\n", part, (char *)result.notes.bytes);
    fail();
}
#endif
