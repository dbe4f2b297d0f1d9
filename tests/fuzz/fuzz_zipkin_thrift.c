#include <stdio.h>
#include <stdlib.h>

#include "tests/unit/exporters/zipkin_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as a body of Zipkin's: refused with nothing changed, or spans that leave as they would come again. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct laws *laws;
    struct weir_buffer json = {0};
    struct weir_error err;
    if (laws == NULL) laws = laws_new();
    enum weir_zipkin_format format = WEIR_ZIPKIN_THRIFT_LIST;
    const char *wrong = laws_check(laws, format, data, size, &json, &err);
    if (wrong != NULL) {
        fprintf(stderr, "%s: %.*s\n", wrong, (int)json.size, (const char *)json.bytes);
        abort();
    }
    weir_buffer_free(&json);
    return 0;
}
