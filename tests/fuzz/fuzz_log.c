/* A segment of the log, read as a whole and through a window that grows only as it is asked to: the same records. */
#include "collector/spool/log_format.h"

#include <stdlib.h>
#include <xxhash.h>

enum { SEGMENT = 1 };

struct sum {
    uint64_t hash;
    size_t records;
};

static void add(struct sum *sum, const struct weir_log_record *record) {
    sum->hash = XXH3_64bits_withSeed(record->bytes, record->size, sum->hash + record->offset + record->type);
    sum->records++;
}

static struct sum read_all(const uint8_t *data, size_t size, size_t first_window) {
    struct sum sum = {0};
    struct weir_log_record record;
    const char *why;
    size_t at = 0, window = first_window, step = 0;
    uint32_t version;
    if (weir_log_read_header(data, size, SEGMENT, &version) == WEIR_LOG_HEADER_OTHER) return sum;
    at = size < WEIR_LOG_HEADER_BYTES ? size : WEIR_LOG_HEADER_BYTES;
    for (;;) {
        size_t left = size - at, seen = window < left ? window : left;
        switch (weir_log_read(data + at, seen, seen == left, SEGMENT, at, &record, &step, &why)) {
        case WEIR_LOG_END: return sum;
        case WEIR_LOG_MORE:
            if (seen == left || step <= seen) abort();
            window = step;
            continue;
        case WEIR_LOG_RECORD: add(&sum, &record); break;
        case WEIR_LOG_BAD: break;
        }
        if (step == 0 || step > seen) abort();
        at += step;
        window = first_window;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct sum whole = read_all(data, size, SIZE_MAX), narrow = read_all(data, size, 0);
    if (whole.hash != narrow.hash || whole.records != narrow.records) abort();
    return 0;
}
