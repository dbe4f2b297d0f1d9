/* keep_read.h - what the reader of `keep:` and that of its conditions know of each other. */
#ifndef WEIR_SAMPLE_KEEP_READ_H
#define WEIR_SAMPLE_KEEP_READ_H
#include "collector/sample/keep_inside.h"
#include "collector/sample/reading.h"

struct weir_keep_reader {
    struct weir_reading file;
    struct weir_keep *keep;
    bool in_span; /* conditions are asked of one span */
};

/* A map of conditions, all of which have to hold. path: what it is called in errors. */
enum weir_status weir_keep_read_when(struct weir_keep_reader *reader, const struct weir_yaml *from, const char *path,
                                     struct weir_node **out);
/* The place of an attribute among those that the policy asks for. */
enum weir_status weir_keep_attribute(struct weir_keep_reader *reader, const struct weir_yaml *from, const char *key,
                                     uint8_t *index);
#endif
