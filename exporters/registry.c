#include "exporters/exporter.h"

#include <string.h>

static const struct weir_exporter *const exporters[] = {
    &weir_export_file,
    &weir_export_zipkin,
    &weir_export_kafka,
    &weir_export_otlp,
};

const struct weir_exporter *weir_exporter_find(const char *type) {
    for (size_t i = 0; i < sizeof exporters / sizeof exporters[0]; i++) {
        if (strcmp(exporters[i]->type, type) == 0) return exporters[i];
    }
    return NULL;
}
