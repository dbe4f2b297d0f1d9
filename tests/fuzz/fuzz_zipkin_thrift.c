#include "zipkin_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    zipkin_in(WEIR_ZIPKIN_THRIFT_LIST, data, size);
    return 0;
}
