#include "exporters/kafka/settings.h"
#include "collector/core/clock.h"

#include <stdio.h>
#include <string.h>

/* Settings that are Weir's own to make: its promises hang on them, or a key of the exporter says the same. */
static const struct {
    const char *name, *instead;
} reserved[] = {
    {"bootstrap.servers", "brokers"},
    {"metadata.broker.list", "brokers"},
    {"compression.codec", "compression"},
    {"compression.type", "compression"},
    {"compression.level", "compression_level"},
    {"queue.buffering.max.kbytes", "buffer_bytes"},
    {"queue.buffering.max.messages", "buffer_bytes"},
    {"message.timeout.ms", "max_age"},
    {"delivery.timeout.ms", "max_age"},
    {"message.max.bytes", NULL},
    {"batch.size", NULL},
    {"enable.idempotence", NULL},
    {"acks", NULL},
    {"request.required.acks", NULL},
    {"retries", NULL},
    {"message.send.max.retries", NULL},
    {"partitioner", NULL},
    {"transactional.id", NULL},
    {"statistics.interval.ms", NULL},
    {"log.queue", NULL},
    {"plugin.library.paths", NULL},
};

static bool set(rd_kafka_conf_t *conf, const struct weir_exporter_config *config, const char *name, const char *value,
                struct weir_error *err) {
    char why[256];
    rd_kafka_conf_res_t result = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (result == RD_KAFKA_CONF_OK) return true;
    /* librdkafka's own words would show the value, which may be a password. */
    weir_fail(err, WEIR_INVALID, 0, false, "exporters.%s: settings: %s: %s", config->name, name,
              result == RD_KAFKA_CONF_UNKNOWN ? "is not a setting of librdkafka" : "librdkafka takes no such value");
    return false;
}

static bool set_number(rd_kafka_conf_t *conf, const struct weir_exporter_config *config, const char *name,
                       uint64_t value, struct weir_error *err) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return set(conf, config, name, text, err);
}

static bool set_own(rd_kafka_conf_t *conf, const struct weir_exporter_config *config, uint64_t message_bytes,
                    struct weir_error *err) {
    uint64_t timeout_ms = config->max_age_ns / WEIR_MS;
    char level[16];
    snprintf(level, sizeof level, "%d", (int)config->kafka.compression_level);
    return set(conf, config, "bootstrap.servers", config->kafka.brokers, err) &&
           set(conf, config, "client.id", "weir", err) &&
           /* Nothing twice while this producer lives: librdkafka numbers messages, and retries what it sent. */
           set(conf, config, "enable.idempotence", "true", err) &&
           set(conf, config, "partitioner", "murmur2_random", err) &&
           set(conf, config, "compression.codec", weir_kafka_compressions[config->kafka.compression], err) &&
           set(conf, config, "compression.level", level, err) &&
           set_number(conf, config, "message.timeout.ms", timeout_ms < INT32_MAX ? timeout_ms : INT32_MAX, err) &&
           set_number(conf, config, "queue.buffering.max.kbytes", config->kafka.buffer_bytes / 1024, err) &&
           /* Some 300 bytes a message that librdkafka does not count are thus less than a third of those that it does.
            */
           set_number(conf, config, "queue.buffering.max.messages", config->kafka.buffer_bytes / 1024, err) &&
           set_number(conf, config, "message.max.bytes", message_bytes, err) &&
           set_number(conf, config, "batch.size", message_bytes < 1000000 ? message_bytes : 1000000, err) &&
           /* A topic that is made while Weir runs is found soon, and one that is not there is said so soon. */
           set_number(conf, config, "topic.metadata.propagation.max.ms", 5000, err) &&
           set_number(conf, config, "reconnect.backoff.max.ms", 2000, err) &&
           set_number(conf, config, "linger.ms", 20, err) &&
           set_number(conf, config, "statistics.interval.ms", 2000, err) && set(conf, config, "log.queue", "true", err);
}

rd_kafka_conf_t *weir_kafka_settings(const struct weir_exporter_config *config, uint64_t message_bytes,
                                     struct weir_error *err) {
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    bool good = set_own(conf, config, message_bytes, err);
    for (uint32_t i = 0; good && i < config->header_count; i++) {
        const struct weir_header *setting = &config->headers[i];
        for (size_t r = 0; good && r < sizeof reserved / sizeof *reserved; r++) {
            if (strcmp(setting->name, reserved[r].name) != 0) continue;
            good = false;
            weir_fail(err, WEIR_INVALID, 0, false, "exporters.%s: settings: %s: %s%s", config->name, setting->name,
                      reserved[r].instead != NULL ? "is set by the exporter's key " : "is Weir's own to set",
                      reserved[r].instead != NULL ? reserved[r].instead : "");
        }
        good = good && set(conf, config, setting->name, setting->value, err);
    }
    if (good) return conf;
    rd_kafka_conf_destroy(conf);
    return NULL;
}
