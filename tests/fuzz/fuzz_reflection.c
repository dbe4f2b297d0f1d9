/* ServerReflectionRequest: any bytes are answered or refused. */
#include "collector/receive/reflection.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const services[] = {"a.B", NULL};
    struct weir_buffer out = {0};
    if (!weir_reflection_answer(services, data, size, &out) && out.size > 0) abort(); /* nothing beside a refusal */
    weir_buffer_free(&out);
    return 0;
}
