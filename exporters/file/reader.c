#include "exporters/file/reader.h"
#include "collector/core/buffer.h"
#include "exporters/file/format.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

enum { FRAME_BYTES_MAX = 256 * 1024 * 1024, READ_BYTES = 256 * 1024, MAGIC_BYTES = 4 };

struct state {
    const struct weir_reader *reader;
    struct weir_buffer input; /* read and not yet done with: input.bytes[at .. input.size) */
    size_t at;
    uint64_t offset; /* in the file, of input.bytes[at] */
    bool end;
    struct weir_buffer content;
    ZSTD_DCtx *zstd;
    size_t limit;
    /* Broken bytes that were not told yet: several in a row are one place. */
    uint64_t broken_from;
    char broken_why[96];
};

static uint32_t magic_at(const uint8_t *bytes) {
    return (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24;
}
static bool is_skippable(uint32_t magic) {
    return (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

static void broken(struct state *state, const char *why) {
    if (state->broken_why[0] != 0) return;
    state->broken_from = state->offset;
    snprintf(state->broken_why, sizeof state->broken_why, "%s", why);
}

/* After a good frame, or at the end. */
static void tell_broken(struct state *state) {
    char why[160];
    if (state->broken_why[0] == 0) return;
    snprintf(why, sizeof why, "%s, %llu bytes skipped", state->broken_why,
             (unsigned long long)(state->offset - state->broken_from));
    state->broken_why[0] = 0;
    state->reader->broken(state->reader->self, state->broken_from, why);
}

static size_t held(const struct state *state) {
    return state->input.size - state->at;
}

static void consume(struct state *state, size_t size) {
    state->at += size;
    state->offset += size;
}

/* More input behind what is held. False: there is none. */
static bool read_more(struct state *state) {
    if (state->end) return false;
    if (state->at > 0) {
        memmove(state->input.bytes, state->input.bytes + state->at, held(state));
        state->input.size -= state->at;
        state->at = 0;
    }
    size_t want = state->input.size > READ_BYTES ? state->input.size
                                                 : READ_BYTES; /* doubles, so that a large frame is looked at seldom */
    if (!weir_buffer_room(&state->input, want)) {
        broken(state, "out of memory");
        state->end = true;
        return false;
    }
    ssize_t got;
    do {
        got = state->reader->read(state->reader->self, state->input.bytes + state->input.size, want);
    } while (got < 0 && errno == EINTR);
    if (got < 0) broken(state, strerror(errno));
    if (got <= 0) {
        state->end = true;
        return false;
    }
    state->input.size += (size_t)got;
    return true;
}

/* To the next place where a frame may start, at least one byte on. */
static void resynchronise(struct state *state) {
    consume(state, 1);
    for (;;) {
        while (held(state) < MAGIC_BYTES) {
            if (read_more(state)) continue;
            consume(state, held(state));
            return;
        }
        const uint8_t *bytes = state->input.bytes + state->at;
        size_t last = held(state) - MAGIC_BYTES, i = 0;
        for (; i <= last; i++) {
            const uint8_t *next = memchr(bytes + i, 0x28, last + 1 - i); /* the first byte of zstd's magic */
            if (next == NULL) break;
            i = (size_t)(next - bytes);
            if (magic_at(next) == ZSTD_MAGICNUMBER) {
                consume(state, i);
                return;
            }
        }
        consume(state, last + 1);
    }
}

/* Size of the frame at hand, all of it held; 0 when it is broken. */
static size_t frame_size(struct state *state) {
    for (;;) {
        size_t size = ZSTD_findFrameCompressedSize(state->input.bytes + state->at, held(state));
        if (!ZSTD_isError(size)) return size;
        if (ZSTD_getErrorCode(size) != ZSTD_error_srcSize_wrong) {
            broken(state, ZSTD_getErrorName(size));
            return 0;
        }
        if (held(state) > state->limit) {
            broken(state, "frame is larger than what is read");
            return 0;
        }
        if (!read_more(state)) {
            broken(state, "frame is cut short (still being written, or left by a crash)");
            return 0;
        }
    }
}

static bool decompress(struct state *state, size_t size) {
    ZSTD_inBuffer in = {state->input.bytes + state->at, size, 0};
    weir_buffer_clear(&state->content);
    ZSTD_DCtx_reset(state->zstd, ZSTD_reset_session_only);
    for (;;) {
        if (!weir_buffer_room(&state->content, ZSTD_DStreamOutSize())) {
            broken(state, "frame is larger than what is read");
            return false;
        }
        ZSTD_outBuffer out = {state->content.bytes, state->content.capacity, state->content.size};
        size_t left = ZSTD_decompressStream(state->zstd, &out, &in);
        if (ZSTD_isError(left)) {
            broken(state, ZSTD_getErrorName(left));
            return false;
        }
        state->content.size = out.pos;
        if (left == 0) return true;
        if (in.pos == in.size && out.pos < out.size) {
            broken(state, "frame is cut short");
            return false;
        }
    }
}

/* The records of a frame. Not 0: stop. */
static int give_records(struct state *state) {
    const uint8_t *at = state->content.bytes, *end = at + state->content.size;
    while (at < end) {
        size_t size = end - at < 4 ? 0 : (size_t)at[0] << 24 | (size_t)at[1] << 16 | (size_t)at[2] << 8 | at[3];
        if (end - at < 4 || size > (size_t)(end - at) - 4) {
            state->reader->broken(state->reader->self, state->offset, "record is longer than its frame");
            return 0;
        }
        int stop = state->reader->request(state->reader->self, at + 4, size, state->offset);
        if (stop != 0) return stop;
        at += 4 + size;
    }
    return 0;
}

/* Our own header, by another version: what follows may be anything. */
static bool is_foreign(const struct state *state, size_t size) {
    static const uint8_t header[WEIR_FILE_HEADER_BYTES] = WEIR_FILE_HEADER;
    const uint8_t *bytes = state->input.bytes + state->at;
    return size == WEIR_FILE_HEADER_BYTES && memcmp(bytes, header, WEIR_FILE_VERSION_AT) == 0 &&
           bytes[WEIR_FILE_VERSION_AT] != header[WEIR_FILE_VERSION_AT];
}

static int read_frames(struct state *state) {
    for (;;) {
        while (held(state) < MAGIC_BYTES && read_more(state)) {
        }
        if (held(state) == 0) return 0;
        if (held(state) < MAGIC_BYTES) {
            broken(state, "frame is cut short (still being written, or left by a crash)");
            consume(state, held(state));
            return 0;
        }
        size_t size = frame_size(state);
        bool skippable = size > 0 && is_skippable(magic_at(state->input.bytes + state->at));
        if (skippable && is_foreign(state, size)) {
            broken(state, "written by another version of the format");
            return 0;
        }
        if (size == 0 || (!skippable && !decompress(state, size))) {
            resynchronise(state);
            continue;
        }
        tell_broken(state);
        int stop = skippable ? 0 : give_records(state);
        if (stop != 0) return stop;
        consume(state, size);
    }
}

void weir_reader_run(const struct weir_reader *reader) {
    struct state state = {.reader = reader,
                          .limit = reader->frame_bytes_max > 0 ? reader->frame_bytes_max : FRAME_BYTES_MAX};
    state.zstd = ZSTD_createDCtx();
    if (state.zstd == NULL) {
        reader->broken(reader->self, 0, "out of memory");
        return;
    }
    ZSTD_DCtx_setParameter(state.zstd, ZSTD_d_windowLogMax, WEIR_FILE_WINDOW_LOG_MAX);
    state.content.limit = state.limit;
    if (state.content.limit < ZSTD_DStreamOutSize()) state.content.limit = ZSTD_DStreamOutSize();
    read_frames(&state);
    tell_broken(&state);
    ZSTD_freeDCtx(state.zstd);
    weir_buffer_free(&state.input);
    weir_buffer_free(&state.content);
}
