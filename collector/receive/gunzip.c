#include "collector/receive/gunzip.h"

#include <stdlib.h>
#include <zlib.h>

/* At the least, where the budget has no room to double: by the byte, each would cost a copy of all. */
enum { STEP_BYTES = 64 * 1024 };

struct weir_gunzip {
    z_stream z;
    bool open; /* its 40 KiB come with the first message */
};

struct weir_gunzip *weir_gunzip_new(void) {
    return calloc(1, sizeof(struct weir_gunzip));
}

void weir_gunzip_free(struct weir_gunzip *gunzip) {
    if (gunzip == NULL) return;
    if (gunzip->open) inflateEnd(&gunzip->z);
    free(gunzip);
}

static enum weir_gunzip_status fill(z_stream *z, const uint8_t *bytes, size_t max_bytes, struct weir_batch *plain,
                                    struct weir_error *err) {
    for (;;) {
        size_t bound = max_bytes + 1; /* the byte past the bound shows that there is more */
        size_t step = bound - plain->size < STEP_BYTES ? bound - plain->size : STEP_BYTES;
        if (plain->size == plain->capacity && weir_batch_room(plain, step) != WEIR_OK) return WEIR_GUNZIP_MEMORY;
        size_t room = (plain->capacity < bound ? plain->capacity : bound) - plain->size;
        z->next_out = plain->bytes + plain->size;
        z->avail_out = (uInt)room;
        int status = inflate(z, Z_NO_FLUSH);
        plain->size += room - z->avail_out;
        if (plain->size > max_bytes) return WEIR_GUNZIP_TOO_LARGE;
        if (status == Z_STREAM_END) {
            if (z->avail_in == 0) return WEIR_GUNZIP_OK;
            if (inflateReset(z) != Z_OK) return WEIR_GUNZIP_MEMORY; /* one more member (RFC 1952 2.2) */
            continue;
        }
        if (status != Z_OK || (z->avail_in == 0 && z->avail_out > 0)) {
            if (status == Z_MEM_ERROR) return WEIR_GUNZIP_MEMORY;
            weir_fail(err, WEIR_INVALID, 0, false, "gzip: byte %zu: %s", (size_t)(z->next_in - bytes),
                      z->msg != NULL ? z->msg : "truncated");
            return WEIR_GUNZIP_BROKEN;
        }
    }
}

enum weir_gunzip_status weir_gunzip(struct weir_gunzip *gunzip, const uint8_t *bytes, size_t size, size_t max_bytes,
                                    struct weir_budget *budget, struct weir_batch **plain, struct weir_error *err) {
    if (!gunzip->open && inflateInit2(&gunzip->z, 15 + 16) != Z_OK)
        return WEIR_GUNZIP_MEMORY; /* 16: gzip's header and trailer */
    gunzip->open = true;
    if (inflateReset(&gunzip->z) != Z_OK) return WEIR_GUNZIP_MEMORY;
    gunzip->z.next_in = (Bytef *)(uintptr_t)bytes;
    gunzip->z.avail_in = (uInt)size;
    size_t guess = 6 * size; /* spans shrink to a sixth or less; more is drawn as it is needed */
    struct weir_batch *batch = weir_batch_new(budget, guess < max_bytes ? guess : max_bytes + 1);
    if (batch == NULL) return WEIR_GUNZIP_MEMORY;
    enum weir_gunzip_status status = fill(&gunzip->z, bytes, max_bytes, batch, err);
    if (status == WEIR_GUNZIP_OK) {
        *plain = batch;
    } else {
        weir_batch_unref(batch);
    }
    return status;
}
