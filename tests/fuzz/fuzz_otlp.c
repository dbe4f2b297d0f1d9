#include "tests/unit/decode/otlp_reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as an ExportTraceServiceRequest: no crash, and the same spans that protobuf-c sees. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_names *names = weir_names_new(256, 64 * 1024);
    struct weir_otlp *otlp = weir_otlp_new(names);
    bool accepted;
    const char *differs = ref_check(otlp, names, data, size, &accepted);
    if (differs != NULL) {
        fprintf(stderr, "differs: %s\n", differs);
        abort();
    }
    weir_otlp_free(otlp);
    weir_names_free(names);
    return 0;
}
