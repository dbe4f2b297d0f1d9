#include "zipkin_in.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    bool is_v1 = weir_zipkin_format_of(data, size) == WEIR_ZIPKIN_JSON_V1;
    zipkin_in(is_v1 ? WEIR_ZIPKIN_JSON_V1 : WEIR_ZIPKIN_JSON_V2, data, size);
    return 0;
}
