/* trace_files.h - trace files for tests, as the file exporter writes them (exporters/file/format.h), out of a few words
 * a span. */
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "exporters/file/format.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#define START_NS (1700000000ull * WEIR_S)

struct said {
    uint64_t trace, span, parent; /* parent 0: a root */
    uint64_t start_ms, ms;        /* behind START_NS */
    const char *service, *name;
    bool error;
    uint64_t threshold; /* of ot=th; 0 = none */
    const char *rule;   /* weir.rule; weir.weight is 4 then */
};

struct frame {
    uint8_t bytes[1 << 20];
    size_t size;
};

static inline uint8_t *put_attribute(uint8_t *at, uint32_t field, const char *key, const char *text, double number) {
    uint8_t value[128], pair[256], *end;
    uint64_t bits;
    memcpy(&bits, &number, 8);
    end = text != NULL ? weir_wire_put_bytes(value, 1, text, strlen(text)) : weir_wire_put_fixed64(value, 4, bits);
    uint8_t *behind = weir_wire_put_bytes(pair, 1, key, strlen(key));
    behind = weir_wire_put_bytes(behind, 2, value, (size_t)(end - value));
    return weir_wire_put_bytes(at, field, pair, (size_t)(behind - pair));
}

static inline void put_id(uint8_t *out, uint64_t id) {
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(id >> (56 - 8 * i));
}

static inline void add_span(struct frame *frame, const struct said *said) {
    static uint8_t body[1024], resource[256], spans[1300], scope[1400], id[16];
    uint8_t *at = body;
    memset(id, 0x11, 8);
    put_id(id + 8, said->trace);
    at = weir_wire_put_bytes(at, 1, id, 16);
    put_id(id, said->span);
    at = weir_wire_put_bytes(at, 2, id, 8);
    if (said->threshold != 0) {
        char state[40];
        snprintf(state, sizeof state, "ot=th:%014llx", (unsigned long long)said->threshold);
        at = weir_wire_put_bytes(at, 3, state, strlen(state));
    }
    put_id(id, said->parent);
    if (said->parent != 0) at = weir_wire_put_bytes(at, 4, id, 8);
    at = weir_wire_put_bytes(at, 5, said->name, strlen(said->name));
    at = weir_wire_put_uint(at, 6, 2);
    at = weir_wire_put_fixed64(at, 7, START_NS + said->start_ms * WEIR_MS);
    at = weir_wire_put_fixed64(at, 8, START_NS + (said->start_ms + said->ms) * WEIR_MS);
    if (said->rule != NULL) {
        at = put_attribute(at, 9, "weir.rule", said->rule, 0);
        at = put_attribute(at, 9, "weir.weight", NULL, 4);
    }
    if (said->error) at = weir_wire_put_bytes(at, 15, "\x18\x02", 2);
    uint8_t *end = weir_wire_put_bytes(spans, 2, body, (size_t)(at - body));
    uint8_t *behind = put_attribute(resource, 1, "service.name", said->service, 0);
    at = weir_wire_put_bytes(scope, 1, resource, (size_t)(behind - resource));
    at = weir_wire_put_bytes(at, 2, spans, (size_t)(end - spans));
    at = weir_wire_put_bytes(frame->bytes + frame->size, 1, scope, (size_t)(at - scope));
    frame->size = (size_t)(at - frame->bytes);
}

/* A file that is there is begun anew. */
static inline FILE *open_trace_file(const char *path) {
    static const uint8_t header[] = WEIR_FILE_HEADER;
    FILE *file = fopen(path, "w");
    if (file == NULL || fwrite(header, 1, sizeof header, file) != sizeof header) abort();
    return file;
}

static inline void write_frame(FILE *file, struct frame *frame) {
    static uint8_t record[sizeof frame->bytes + 4], packed[sizeof record + 65536];
    ZSTD_CCtx *zstd = ZSTD_createCCtx();
    for (int i = 0; i < 4; i++)
        record[i] = (uint8_t)(frame->size >> (24 - 8 * i));
    memcpy(record + 4, frame->bytes, frame->size);
    ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
    size_t size = ZSTD_compress2(zstd, packed, sizeof packed, record, frame->size + 4);
    if (ZSTD_isError(size) || fwrite(packed, 1, size, file) != size) abort();
    ZSTD_freeCCtx(zstd);
    frame->size = 0;
}
