/* gzip as a sender may send it. The first two bytes say how large the plain message may be, the third how much memory
 * there is. */
#include "collector/receive/gunzip.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_gunzip *gunzip; /* kept, as a lane keeps its own: one message leaves nothing to the next */
    if (size < 3) return 0;
    if (gunzip == NULL && (gunzip = weir_gunzip_new()) == NULL) abort();
    struct weir_budget budget = {.limit_bytes = (size_t)(data[2] + 1) * 4096};
    struct weir_batch *plain = NULL;
    struct weir_error err = {0};
    size_t max_bytes = (size_t)data[0] << 8 | data[1];
    enum weir_gunzip_status status = weir_gunzip(gunzip, data + 3, size - 3, max_bytes, &budget, &plain, &err);
    if ((plain != NULL) != (status == WEIR_GUNZIP_OK)) abort();
    if (plain != NULL && plain->size > max_bytes) abort();
    if (status == WEIR_GUNZIP_BROKEN && err.text[0] == 0) abort();
    weir_batch_unref(plain);
    if (budget.used_bytes != 0) abort();
    return 0;
}
