#include "collector/spool/log_format.h"

#include <string.h>
#include <xxhash.h>

static const uint8_t magic[8] = {'W', 'E', 'I', 'R', 'L', 'O', 'G', '\n'};
/* The first byte is no ASCII and no start of UTF-8, so that text is never mistaken for a record. */
static const uint8_t mark[4] = {0x89, 'W', 'R', '1'};

static uint64_t seed_of(uint64_t segment, uint64_t offset) {
    return segment << 32 | (offset & UINT32_MAX);
}

static uint32_t head_check(const uint8_t *head, uint64_t seed) {
    return (uint32_t)XXH3_64bits_withSeed(head, 12, seed);
}

void weir_log_write_header(uint8_t header[WEIR_LOG_HEADER_BYTES], uint64_t segment) {
    const uint32_t words[2] = {WEIR_LOG_VERSION, 0};
    memcpy(header, magic, 8);
    memcpy(header + 8, words, 8);
    memcpy(header + 16, &segment, 8);
    uint64_t sum = XXH3_64bits(header, 24);
    memcpy(header + 24, &sum, 8);
}

void weir_log_write_head(uint8_t head[WEIR_LOG_HEAD_BYTES], uint64_t segment, uint64_t offset, uint32_t type,
                         const void *bytes, size_t size) {
    uint64_t seed = seed_of(segment, offset);
    const uint32_t words[2] = {type, (uint32_t)size};
    memcpy(head, mark, 4);
    memcpy(head + 4, words, 8);
    uint32_t check = head_check(head, seed);
    memcpy(head + 12, &check, 4);
    uint64_t sum = XXH3_64bits_withSeed(bytes, size, seed);
    memcpy(head + 16, &sum, 8);
}

enum weir_log_header weir_log_read_header(const uint8_t *bytes, size_t size, uint64_t segment, uint32_t *version) {
    uint64_t sum, number;
    uint32_t said;
    if (size < WEIR_LOG_HEADER_BYTES || memcmp(bytes, magic, 8) != 0) return WEIR_LOG_HEADER_BAD;
    memcpy(&said, bytes + 8, 4);
    memcpy(&number, bytes + 16, 8);
    memcpy(&sum, bytes + 24, 8);
    if (sum != XXH3_64bits(bytes, 24)) return WEIR_LOG_HEADER_BAD;
    if (said != WEIR_LOG_VERSION) {
        *version = said;
        return WEIR_LOG_HEADER_OTHER;
    }
    return number == segment ? WEIR_LOG_HEADER_OK : WEIR_LOG_HEADER_BAD;
}

/* A whole head, and its check holds. */
static bool is_head(const uint8_t *bytes, uint64_t seed) {
    uint32_t check;
    if (memcmp(bytes, mark, 4) != 0) return false;
    memcpy(&check, bytes + 12, 4);
    return check == head_check(bytes, seed);
}

bool weir_log_read_head(const uint8_t head[WEIR_LOG_HEAD_BYTES], uint64_t segment, uint64_t offset, uint32_t *type,
                        uint32_t *size) {
    if (!is_head(head, seed_of(segment, offset))) return false;
    memcpy(type, head + 4, 4);
    memcpy(size, head + 8, 4);
    return *size <= WEIR_LOG_RECORD_MAX;
}

/* The next sound head behind byte 0, or how many bytes can hold none: the last 23 may be the beginning of one, unless
 * nothing follows. */
static size_t next_head(const uint8_t *bytes, size_t size, bool last, uint64_t segment, uint64_t offset) {
    size_t end = size < WEIR_LOG_HEAD_BYTES ? 0 : size - WEIR_LOG_HEAD_BYTES + 1; /* heads begin before it */
    for (size_t at = 1; at < end;) {
        const uint8_t *found = memchr(bytes + at, mark[0], end - at);
        if (found == NULL) break;
        at = (size_t)(found - bytes);
        if (is_head(found, seed_of(segment, offset + at))) return at;
        at++;
    }
    return last ? size : end == 0 ? 1 : end;
}

static bool all_zero(const uint8_t *bytes, size_t size) {
    return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}

enum weir_log_found weir_log_read(const uint8_t *bytes, size_t size, bool last, uint64_t segment, uint64_t offset,
                                  struct weir_log_record *record, size_t *step, const char **why) {
    if (size == 0 && last) return WEIR_LOG_END;
    if (size < WEIR_LOG_HEAD_BYTES && !last) {
        *step = WEIR_LOG_HEAD_BYTES;
        return WEIR_LOG_MORE;
    }
    uint64_t seed = seed_of(segment, offset);
    if (size < WEIR_LOG_HEAD_BYTES || !is_head(bytes, seed)) {
        *step = next_head(bytes, size, last, segment, offset);
        *why = all_zero(bytes, *step)  ? "zeros"
               : last && *step == size ? "torn or damaged end"
                                       : "damaged head of a record";
        return WEIR_LOG_BAD;
    }
    uint32_t type, payload;
    uint64_t sum;
    memcpy(&type, bytes + 4, 4);
    memcpy(&payload, bytes + 8, 4);
    memcpy(&sum, bytes + 16, 8);
    if (payload > WEIR_LOG_RECORD_MAX) {
        *why = "record larger than 16 MiB";
    } else if (size - WEIR_LOG_HEAD_BYTES < payload) {
        if (!last) {
            *step = WEIR_LOG_HEAD_BYTES + (size_t)payload;
            return WEIR_LOG_MORE;
        }
        *why = "torn record";
    } else if (sum != XXH3_64bits_withSeed(bytes + WEIR_LOG_HEAD_BYTES, payload, seed)) {
        *why = "checksum of a record does not match";
    } else {
        *record = (struct weir_log_record){segment, offset, type, bytes + WEIR_LOG_HEAD_BYTES, payload};
        *step = WEIR_LOG_HEAD_BYTES + (size_t)payload;
        return WEIR_LOG_RECORD;
    }
    /* Its size is not followed: what was meant to come behind it is looked for byte by byte. */
    *step = next_head(bytes, size, last, segment, offset);
    return WEIR_LOG_BAD;
}
