/* load.h - reading a configuration from memory: what weir_config_load() does once it has the bytes and knows the
 * machine. */
#ifndef WEIR_CONFIG_LOAD_H
#define WEIR_CONFIG_LOAD_H
#include "collector/config/config.h"

#include <stdio.h>

struct weir_machine {
    const char *host;        /* of listeners that name none */
    uint32_t lanes;          /* what `lanes: 0` comes to */
    uint64_t memory_bytes;   /* what all bounds together may take; 0 = unknown, not checked */
    const char *memory_what; /* where that number is from */
};

/* name: of the file, for errors and as the place that relative paths start from; "" = no file. */
enum weir_status weir_config_parse(const char *name, const uint8_t *bytes, size_t size,
                                   const struct weir_machine *machine, struct weir_config **config,
                                   struct weir_error *err);
/* docs/configuration.md */
void weir_config_write_reference(FILE *out);
#endif
