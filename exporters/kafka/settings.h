/* settings.h - what librdkafka is told: what Weir's promises need, then the operator's own settings. */
#ifndef WEIR_EXPORTERS_KAFKA_SETTINGS_H
#define WEIR_EXPORTERS_KAFKA_SETTINGS_H
#include "collector/config/config.h"
#include "collector/core/error.h"

#include <librdkafka/rdkafka.h>

/* message_bytes: the most that a record batch may have, and a message in it. The caller's, or NULL with err: it names
 * the key and the reason, never a value. Connects to nothing. */
rd_kafka_conf_t *weir_kafka_settings(const struct weir_exporter_config *config, uint64_t message_bytes,
                                     struct weir_error *err);
#endif
