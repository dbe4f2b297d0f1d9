/* gzip (the first byte is even) or zstd as a sender may send it. Two bytes say how large the plain message may be, the
 * fourth how much memory there is. */
#include "collector/receive/inflate.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_inflate *inflate; /* kept, as a lane keeps its own: one message leaves nothing to the next */
    if (size < 4) return 0;
    if (inflate == NULL && (inflate = weir_inflate_new()) == NULL) abort();
    enum weir_encoding encoding = data[0] % 2 == 0 ? WEIR_ENCODING_GZIP : WEIR_ENCODING_ZSTD;
    size_t max_bytes = (size_t)data[1] << 8 | data[2];
    struct weir_budget budget = {.limit_bytes = (size_t)(data[3] + 1) * (data[0] % 4 == 3 ? 65536 : 4096)};
    struct weir_batch *plain = NULL;
    struct weir_error err = {0};
    enum weir_inflate_status status =
        weir_inflate(inflate, encoding, data + 4, size - 4, max_bytes, &budget, &plain, &err);
    if ((plain != NULL) != (status == WEIR_INFLATE_OK)) abort();
    if (plain != NULL && plain->size > max_bytes) abort();
    if (status == WEIR_INFLATE_BROKEN && err.text[0] == 0) abort();
    weir_batch_unref(plain);
    if (budget.used_bytes != 0) abort();
    return 0;
}
