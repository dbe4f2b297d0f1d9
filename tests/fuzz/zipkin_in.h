/* zipkin_in.h - any bytes as a body of Zipkin's: refused with nothing changed, or spans that leave as they would come
 * again. */
#ifndef WEIR_FUZZ_ZIPKIN_IN_H
#define WEIR_FUZZ_ZIPKIN_IN_H
#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/exporters/zipkin_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void zipkin_in(enum weir_zipkin_format format, const uint8_t *data, size_t size) {
    static struct laws *laws;
    struct weir_buffer json = {0};
    struct weir_error err;
    if (laws == NULL) laws = laws_new();
    const char *wrong = laws_check(laws, format, data, size, &json, &err);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %.*s\n", wrong, (int)json.size, (const char *)json.bytes);
        abort();
    }
    weir_buffer_free(&json);
}
#endif
