#include "exporters/otlp/squeeze.h"

#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

enum { LEVEL = 1 };

struct weir_otlp_squeeze {
    z_stream deflate;
    bool deflates; /* deflateInit2() was called */
    ZSTD_CCtx *zstd;
};

const char *weir_otlp_encoding_name(enum weir_otlp_encoding encoding) {
    return encoding == WEIR_OTLP_GZIP ? "gzip" : encoding == WEIR_OTLP_ZSTD ? "zstd" : NULL;
}

struct weir_otlp_squeeze *weir_otlp_squeeze_new(void) {
    return calloc(1, sizeof(struct weir_otlp_squeeze));
}

static bool gzip(struct weir_otlp_squeeze *squeeze, const struct weir_buffer *plain, struct weir_buffer *out) {
    z_stream *z = &squeeze->deflate;
    if (!squeeze->deflates) {
        if (deflateInit2(z, LEVEL, Z_DEFLATED, 15 + 16 /* a gzip header */, 8, Z_DEFAULT_STRATEGY) != Z_OK)
            return false;
        squeeze->deflates = true;
    }
    if (deflateReset(z) != Z_OK) return false;
    uLong bound = deflateBound(z, plain->size);
    if (!weir_buffer_room(out, bound)) return false;
    z->next_in = plain->bytes;
    z->avail_in = (uInt)plain->size;
    z->next_out = out->bytes + out->size;
    z->avail_out = (uInt)bound;
    if (deflate(z, Z_FINISH) != Z_STREAM_END) return false;
    out->size += z->total_out;
    return true;
}

static bool zstd(struct weir_otlp_squeeze *squeeze, const struct weir_buffer *plain, struct weir_buffer *out) {
    if (squeeze->zstd == NULL) squeeze->zstd = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(plain->size);
    if (squeeze->zstd == NULL || !weir_buffer_room(out, bound)) return false;
    size_t size = ZSTD_compressCCtx(squeeze->zstd, out->bytes + out->size, bound, plain->bytes, plain->size, LEVEL);
    if (ZSTD_isError(size)) return false;
    out->size += size;
    return true;
}

bool weir_otlp_squeeze(struct weir_otlp_squeeze *squeeze, enum weir_otlp_encoding encoding,
                       const struct weir_buffer *plain, struct weir_buffer *out) {
    if (encoding == WEIR_OTLP_GZIP) return gzip(squeeze, plain, out);
    if (encoding == WEIR_OTLP_ZSTD) return zstd(squeeze, plain, out);
    weir_buffer_put(out, plain->bytes, plain->size);
    return !out->failed;
}

void weir_otlp_squeeze_free(struct weir_otlp_squeeze *squeeze) {
    if (squeeze == NULL) return;
    if (squeeze->deflates) deflateEnd(&squeeze->deflate);
    ZSTD_freeCCtx(squeeze->zstd);
    free(squeeze);
}
