/* A file of decisions whose checksum is right, whatever is in it: it is refused, or read, and read again it says the
 * same. */
#include "collector/sample/decisions.h"

#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { LANES = 3, BYTES = 1 << 12, INPUT_MAX = 1 << 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint8_t file[4 + INPUT_MAX + 8];
    if (size > INPUT_MAX) return 0;
    memcpy(file, "WDEC", 4);
    memcpy(file + 4, data, size);
    uint64_t checksum = XXH3_64bits(file, 4 + size);
    memcpy(file + 4 + size, &checksum, 8);

    struct weir_names *names = weir_names_new(100, 10000);
    struct weir_decisions *lanes[LANES];
    for (uint32_t i = 0; i < LANES; i++)
        lanes[i] = weir_decisions_new(BYTES, LANES);
    struct weir_error err = {0};
    enum weir_status status = weir_decisions_read(file, 4 + size + 8, lanes, LANES, names, &err);
    if (status != WEIR_OK && (status != WEIR_INVALID || err.text[0] == 0)) abort();
    uint64_t kept[LANES], dropped[LANES];
    for (uint32_t i = 0; i < LANES; i++) {
        kept[i] = weir_decisions_kept(lanes[i]);
        dropped[i] = weir_decisions_dropped(lanes[i]);
        if (weir_decisions_memory(lanes[i]) > BYTES + 1024) abort();
    }
    if (weir_decisions_read(file, 4 + size + 8, lanes, LANES, names, &err) != status) abort();
    for (uint32_t i = 0; i < LANES; i++) {
        if (weir_decisions_kept(lanes[i]) < kept[i] || weir_decisions_dropped(lanes[i]) < dropped[i]) abort();
        weir_decisions_free(lanes[i]);
    }
    weir_names_free(names);
    return 0;
}
