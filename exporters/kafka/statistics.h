/* statistics.h - what librdkafka says of itself every two seconds, as numbers for /metrics.
 * Source: librdkafka, STATISTICS.md (units: microseconds, bytes; rtt and throttle are windows of the interval). */
#ifndef WEIR_EXPORTERS_KAFKA_STATISTICS_H
#define WEIR_EXPORTERS_KAFKA_STATISTICS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_KAFKA_LEADERS = 1024 }; /* of the first partitions; those beyond are not looked at */

struct weir_kafka_statistics {
    uint64_t messages, bytes;            /* waiting or under way */
    uint64_t retries, timeouts;          /* requests, since this producer was made */
    uint64_t disconnects;                /* likewise */
    uint64_t brokers, brokers_up;        /* those that are known by a number, and those of them with a connection */
    uint64_t rtt_us;                     /* of the slowest broker, mean */
    uint64_t throttle_us;                /* likewise: how long a broker asked to wait, for a quota */
    uint32_t partitions;                 /* of the topic, as far as WEIR_KAFKA_LEADERS */
    int32_t leaders[WEIR_KAFKA_LEADERS]; /* of them: a broker's number, or -1 for none */
};

/* False: it is no such JSON, and *out is as it was. */
bool weir_kafka_statistics_read(const char *json, size_t size, const char *topic, struct weir_kafka_statistics *out);
/* How many partitions have another leader than when last seen, and how many have none (*without). What `before` knew of
 * those that have none is kept in *now. */
uint32_t weir_kafka_leaders_moved(const struct weir_kafka_statistics *before, struct weir_kafka_statistics *now,
                                  uint32_t *without);
#endif
