/* SamplingStrategyParameters: any bytes are read or refused, and a name that is read lies inside them. */
#include "collector/dialects/jaeger.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *service = NULL;
    size_t service_size = 0;
    struct weir_error err;
    if (weir_jaeger_read_parameters(data, size, &service, &service_size, &err) != WEIR_OK) return 0;
    const char *begin = (const char *)data;
    bool inside = service_size == 0 || (service >= begin && service + service_size <= begin + size);
    if (!inside || service_size > WEIR_NAME_BYTES_MAX) abort();
    return 0;
}
