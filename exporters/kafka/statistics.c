#include "exporters/kafka/statistics.h"

#include <jansson.h>
#include <string.h>

static uint64_t number(const json_t *object, const char *key) {
    json_int_t value = json_integer_value(json_object_get(object, key)); /* 0 when it is not there */
    return value > 0 ? (uint64_t)value : 0;
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

bool weir_kafka_statistics_read(const char *json, size_t size, struct weir_kafka_statistics *out) {
    json_t *root = json_loadb(json, size, 0, NULL);
    json_t *brokers = json_object_get(root, "brokers"), *broker;
    if (!json_is_object(brokers)) {
        json_decref(root);
        return false;
    }
    struct weir_kafka_statistics read = {.messages = number(root, "msg_cnt"), .bytes = number(root, "msg_size")};
    const char *name;
    json_object_foreach(brokers, name, broker) {
        read.retries += number(broker, "txretries");
        read.timeouts += number(broker, "req_timeouts");
        read.disconnects += number(broker, "disconnects");
        read.rtt_us = larger(read.rtt_us, number(json_object_get(broker, "rtt"), "avg"));
        read.throttle_us = larger(read.throttle_us, 1000 * number(json_object_get(broker, "throttle"), "avg"));
        json_int_t id = json_integer_value(json_object_get(broker, "nodeid"));
        if (id < 0) continue; /* an address of the configuration, or the group coordinator */
        const char *state = json_string_value(json_object_get(broker, "state"));
        read.brokers++;
        read.brokers_up += state != NULL && strcmp(state, "UP") == 0;
    }
    json_decref(root);
    *out = read;
    return true;
}
