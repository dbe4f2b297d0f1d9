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

static void read_leaders(json_t *topic, struct weir_kafka_statistics *read) {
    const char *name;
    json_t *partition;
    json_object_foreach(json_object_get(topic, "partitions"), name, partition) {
        json_t *own = json_object_get(partition, "partition"), *leader = json_object_get(partition, "leader");
        json_int_t number = json_integer_value(own), broker = json_integer_value(leader);
        if (!json_is_integer(own) || !json_is_integer(leader)) continue;
        if (number < 0 || number >= WEIR_KAFKA_LEADERS) continue; /* -1: messages that have no partition yet */
        for (; read->partitions <= (uint32_t)number; read->partitions++)
            read->leaders[read->partitions] = -1;
        read->leaders[number] = broker >= 0 && broker <= INT32_MAX ? (int32_t)broker : -1;
    }
}

uint32_t weir_kafka_leaders_moved(const struct weir_kafka_statistics *before, struct weir_kafka_statistics *now,
                                  uint32_t *without) {
    uint32_t moved = 0;
    *without = 0;
    for (uint32_t i = 0; i < now->partitions; i++) {
        int32_t last = i < before->partitions ? before->leaders[i] : -1;
        if (now->leaders[i] < 0) {
            ++*without;
            now->leaders[i] = last;
        } else {
            moved += last >= 0 && last != now->leaders[i];
        }
    }
    return moved;
}

bool weir_kafka_statistics_read(const char *json, size_t size, const char *topic, struct weir_kafka_statistics *out) {
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
    read_leaders(json_object_get(json_object_get(root, "topics"), topic), &read);
    json_decref(root);
    *out = read;
    return true;
}
