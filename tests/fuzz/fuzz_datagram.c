#include "tests/unit/decode/datagram_laws.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Any bytes as a datagram: no crash, and the same spans as in an OTLP request. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct laws laws;
    bool accepted;
    laws_open(&laws);
    const char *differs = law_datagram(&laws, data, size, &accepted);
    if (differs != NULL) {
        fprintf(stderr, "differs: %s\n", differs);
        abort();
    }
    laws_close(&laws);
    return 0;
}
