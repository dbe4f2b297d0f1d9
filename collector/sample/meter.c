#include "collector/sample/meter.h"

#include <stdlib.h>

struct weir_meter {
    uint64_t spans;
};

struct weir_meter *weir_meter_new(void) {
    return calloc(1, sizeof(struct weir_meter));
}

void weir_meter_take(struct weir_meter *meter, void (*load)(void *self, const struct weir_control_load *load),
                     void *self) {
    (void)meter;
    (void)load;
    (void)self;
}

void weir_meter_free(struct weir_meter *meter) {
    free(meter);
}
