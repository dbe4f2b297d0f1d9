/* Trace files of any bytes through what `weir cat` reads them with; and, so that the fuzzer need not learn zstd, the
 * same bytes as one request. */
#include "exporters/file/otlp_json.h"
#include "exporters/file/reader.h"

#include <stdlib.h>
#include <string.h>

struct input {
    const uint8_t *at;
    size_t left;
    struct weir_buffer lines;
};

static ssize_t read_some(void *self, void *bytes, size_t size) {
    struct input *input = self;
    size_t n = input->left < size ? input->left : size;
    if (n > 61) n = 61;
    if (n > 0) memcpy(bytes, input->at, n);
    input->at += n;
    input->left -= n;
    return (ssize_t)n;
}

static int on_request(void *self, const uint8_t *bytes, size_t size, uint64_t offset) {
    struct input *input = self;
    struct weir_otlp_json_counts counts = {0};
    struct weir_error err;
    (void)offset;
    weir_buffer_clear(&input->lines);
    weir_otlp_json_lines(bytes, size, &input->lines, &counts, &err);
    uint64_t lines = 0;
    for (size_t i = 0; i < input->lines.size; i++) {
        lines += input->lines.bytes[i] == '\n';
        if (input->lines.bytes[i] < 0x20 && input->lines.bytes[i] != '\n')
            abort(); /* no line holds a control character */
    }
    if (!input->lines.failed && lines != counts.spans) abort();
    return 0;
}

static void on_broken(void *self, uint64_t offset, const char *why) {
    (void)self;
    (void)offset;
    if (why[0] == 0) abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct input input = {.at = data, .left = size, .lines.limit = 16 << 20};
    struct weir_reader reader = {
        .self = &input, .read = read_some, .request = on_request, .broken = on_broken, .frame_bytes_max = 1 << 20};
    weir_reader_run(&reader);
    on_request(&input, data, size, 0);
    weir_buffer_free(&input.lines);
    return 0;
}
