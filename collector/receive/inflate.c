#include "collector/receive/inflate.h"

#include <assert.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>
#include <zstd_errors.h>

enum {
    /* At the least, where the budget has no room to double: by the byte, each would cost a copy of all. */
    STEP_BYTES = 64 * 1024,
    WINDOW_LOG_MAX = 23, /* 8 MiB: what RFC 8878 3.1.1.1.2 asks of a decoder, and bids senders to stay within */
    /* Of zstd, from message to message: a window of 512 KiB, as of level 1, and its tables. What takes more is in the
     * budget, and does not outlive its message. A frame that says its size is inflated in place, without a window. */
    KEPT_BYTES = 1024 * 1024,
    MAGIC_BYTES = 4,
};

struct weir_inflate {
    z_stream z;
    bool gzip_open; /* its 40 KiB come with the first message */
    ZSTD_DStream *zstd;
};

/* What is inflated, and where to. */
struct job {
    const uint8_t *bytes;
    size_t size, max_bytes;
    struct weir_batch *plain;
    struct weir_error *err;
};

struct weir_inflate *weir_inflate_new(void) {
    return calloc(1, sizeof(struct weir_inflate));
}

void weir_inflate_free(struct weir_inflate *inflate) {
    if (inflate == NULL) return;
    if (inflate->gzip_open) inflateEnd(&inflate->z);
    ZSTD_freeDStream(inflate->zstd);
    free(inflate);
}

static enum weir_inflate_status broken(const struct job *job, const char *what, size_t at, const char *why) {
    weir_fail(job->err, WEIR_INVALID, 0, false, "%s: byte %zu: %s", what, at, why);
    return WEIR_INFLATE_BROKEN;
}

/* How much may be written behind what is there: at least a byte, at most the byte past the bound, which shows that
 * there is more. 0: no memory. */
static size_t room_of(const struct job *job) {
    struct weir_batch *plain = job->plain;
    size_t bound = job->max_bytes + 1;
    size_t step = bound - plain->size < STEP_BYTES ? bound - plain->size : STEP_BYTES;
    if (plain->size == plain->capacity && weir_batch_room(plain, step) != WEIR_OK) return 0;
    return (plain->capacity < bound ? plain->capacity : bound) - plain->size;
}

/* ---- gzip ---- */

static enum weir_inflate_status gunzip(struct weir_inflate *kept, const struct job *job) {
    z_stream *z = &kept->z;
    if (!kept->gzip_open && inflateInit2(z, 15 + 16) != Z_OK)
        return WEIR_INFLATE_MEMORY; /* 16: gzip's header and trailer */
    kept->gzip_open = true;
    if (inflateReset(z) != Z_OK) return WEIR_INFLATE_MEMORY;
    z->next_in = (Bytef *)(uintptr_t)job->bytes;
    z->avail_in = (uInt)job->size;
    for (;;) {
        size_t room = room_of(job);
        if (room == 0) return WEIR_INFLATE_MEMORY;
        z->next_out = job->plain->bytes + job->plain->size;
        z->avail_out = (uInt)room;
        int status = inflate(z, Z_NO_FLUSH);
        job->plain->size += room - z->avail_out;
        if (job->plain->size > job->max_bytes) return WEIR_INFLATE_TOO_LARGE;
        if (status == Z_STREAM_END) {
            if (z->avail_in == 0) return WEIR_INFLATE_OK;
            if (inflateReset(z) != Z_OK) return WEIR_INFLATE_MEMORY; /* one more member (RFC 1952 2.2) */
            continue;
        }
        if (status != Z_OK || (z->avail_in == 0 && z->avail_out > 0)) {
            if (status == Z_MEM_ERROR) return WEIR_INFLATE_MEMORY;
            return broken(job, "gzip", (size_t)(z->next_in - job->bytes), z->msg != NULL ? z->msg : "truncated");
        }
    }
}

/* ---- zstd ---- */

static bool zstd_open(struct weir_inflate *inflate) {
    if (inflate->zstd != NULL) {
        ZSTD_DCtx_reset(inflate->zstd, ZSTD_reset_session_only);
        return true;
    }
    inflate->zstd = ZSTD_createDStream();
    return inflate->zstd != NULL &&
           !ZSTD_isError(ZSTD_DCtx_setParameter(inflate->zstd, ZSTD_d_windowLogMax, WINDOW_LOG_MAX));
}

/* What the frame at `at` says of its size; a bound of memory it is not, so 0 where it says nothing or nothing yet. */
static size_t declared(const struct job *job, size_t at) {
    if (at == job->size) return 0; /* also where there are no bytes at all */
    unsigned long long size = ZSTD_getFrameContentSize(job->bytes + at, job->size - at);
    return size == ZSTD_CONTENTSIZE_UNKNOWN || size == ZSTD_CONTENTSIZE_ERROR ? 0
           : size > SIZE_MAX                                                  ? SIZE_MAX
                                                                              : (size_t)size;
}

/* The library may know formats from before the RFC, of which we take none. */
static enum weir_inflate_status begin_frame(const struct job *job, size_t at) {
    if (job->size - at < MAGIC_BYTES) return broken(job, "zstd", at, "truncated");
    const uint8_t *p = job->bytes + at;
    uint32_t magic = (uint32_t)p[3] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[1] << 8 | p[0];
    if ((magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START) return WEIR_INFLATE_OK;
    if (magic != ZSTD_MAGICNUMBER) return broken(job, "zstd", at, "no frame begins here");
    size_t size = declared(job, at);
    if (size > job->max_bytes - job->plain->size) return WEIR_INFLATE_TOO_LARGE;
    return size == 0 || weir_batch_room(job->plain, size) == WEIR_OK ? WEIR_INFLATE_OK : WEIR_INFLATE_MEMORY;
}

/* The window's memory comes with the frame's header, before it is written to. */
static enum weir_inflate_status draw_window(struct weir_inflate *inflate, const struct job *job, size_t at,
                                            size_t *drawn) {
    struct weir_budget *budget = job->plain->budget;
    size_t held = ZSTD_sizeof_DStream(inflate->zstd);
    if (held <= KEPT_BYTES || held <= *drawn) return WEIR_INFLATE_OK;
    if (budget != NULL && held > budget->limit_bytes)
        return broken(job, "zstd", at, "the frame asks for a window larger than memory.intake");
    if (!weir_budget_reserve(budget, held - *drawn)) return WEIR_INFLATE_MEMORY;
    *drawn = held;
    return WEIR_INFLATE_OK;
}

static enum weir_inflate_status frames(struct weir_inflate *inflate, const struct job *job, size_t *drawn) {
    struct weir_batch *plain = job->plain;
    ZSTD_inBuffer in = {job->bytes, job->size, 0};
    enum weir_inflate_status status = begin_frame(job, 0);
    while (status == WEIR_INFLATE_OK) {
        size_t room = room_of(job);
        if (room == 0) return WEIR_INFLATE_MEMORY;
        ZSTD_outBuffer out = {plain->bytes + plain->size, room, 0};
        size_t left = ZSTD_decompressStream(inflate->zstd, &out, &in);
        plain->size += out.pos;
        if (plain->size > job->max_bytes) return WEIR_INFLATE_TOO_LARGE;
        if (ZSTD_isError(left)) {
            if (ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation) return WEIR_INFLATE_MEMORY;
            return broken(job, "zstd", in.pos, ZSTD_getErrorName(left));
        }
        status = draw_window(inflate, job, in.pos, drawn);
        if (status != WEIR_INFLATE_OK) break;
        if (left == 0) {
            if (in.pos == in.size) break;
            status = begin_frame(job, in.pos); /* one more (RFC 8878 3) */
        } else if (in.pos == in.size && out.pos < room) {
            return broken(job, "zstd", in.pos, "truncated");
        }
    }
    return status;
}

static enum weir_inflate_status unzstd(struct weir_inflate *inflate, const struct job *job) {
    size_t drawn = 0;
    bool open = zstd_open(inflate);
    enum weir_inflate_status status = open ? frames(inflate, job, &drawn) : WEIR_INFLATE_MEMORY;
    weir_budget_release(job->plain->budget, drawn);
    if (!open || ZSTD_sizeof_DStream(inflate->zstd) > KEPT_BYTES) {
        ZSTD_freeDStream(inflate->zstd);
        inflate->zstd = NULL;
    }
    return status;
}

/* ---- either ---- */

enum weir_inflate_status weir_inflate(struct weir_inflate *inflate, enum weir_encoding encoding, const uint8_t *bytes,
                                      size_t size, size_t max_bytes, struct weir_budget *budget,
                                      struct weir_batch **plain, struct weir_error *err) {
    assert(encoding == WEIR_ENCODING_GZIP || encoding == WEIR_ENCODING_ZSTD);
    struct job job = {.bytes = bytes, .size = size, .max_bytes = max_bytes, .err = err};
    size_t guess = encoding == WEIR_ENCODING_ZSTD ? declared(&job, 0) : 0;
    if (guess > max_bytes) return WEIR_INFLATE_TOO_LARGE;
    if (guess == 0) guess = 6 * size; /* spans shrink to a sixth or less; more is drawn as it is needed */
    job.plain = weir_batch_new(budget, guess < max_bytes ? guess : max_bytes + 1);
    if (job.plain == NULL) return WEIR_INFLATE_MEMORY;
    enum weir_inflate_status status = encoding == WEIR_ENCODING_ZSTD ? unzstd(inflate, &job) : gunzip(inflate, &job);
    if (status == WEIR_INFLATE_OK) {
        *plain = job.plain;
    } else {
        weir_batch_unref(job.plain);
    }
    return status;
}
