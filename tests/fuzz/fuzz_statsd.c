#include "collector/decode/statsd.h"

static void take(void *self, const struct weir_point *point) {
    volatile uint8_t last = point->key[point->key_size - 1]; /* the whole key is there */
    (void)self;
    (void)last;
}
static void refused(void *self, enum weir_statsd_refusal reason) {
    (void)self;
    if (reason >= WEIR_STATSD_REFUSALS) __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_statsd *statsd; /* kept: its table of known lines is what one input leaves to the next */
    if (statsd == NULL) statsd = weir_statsd_new(weir_names_new(64, 4096), 128);
    struct weir_statsd_source source = {.address = size % 2 ? "10.0.0.1" : NULL, .prefer_host_tag = size % 3 == 0};
    weir_statsd_decode(statsd, data, size, source, &(struct weir_statsd_calls){.point = take, .refused = refused});
    return 0;
}
