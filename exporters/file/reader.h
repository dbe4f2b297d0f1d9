/* reader.h - trace files (format.h) frame by frame, in memory bounded by the largest frame. What is broken is told and
 * stepped over: reading goes on at the next frame. */
#ifndef WEIR_EXPORTERS_FILE_READER_H
#define WEIR_EXPORTERS_FILE_READER_H
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct weir_reader {
    void *self;
    ssize_t (*read)(void *self, void *bytes, size_t size); /* as read(2): 0 = end, -1 = error in errno */
    /* One ExportTraceServiceRequest of a frame that is whole and passed its checksum; the frame starts at `offset`. Not
     * 0: stop. */
    int (*request)(void *self, const uint8_t *bytes, size_t size, uint64_t offset);
    void (*broken)(void *self, uint64_t offset, const char *why);
    size_t frame_bytes_max; /* compressed or not; larger is broken. 0 = 256 MiB */
};

/* To the end, or until request() says stop. */
void weir_reader_run(const struct weir_reader *reader);
#endif
