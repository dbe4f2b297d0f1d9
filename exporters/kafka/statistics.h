/* statistics.h - what librdkafka says of itself every two seconds, as numbers for /metrics.
 * Source: librdkafka, STATISTICS.md (units: microseconds, bytes; rtt and throttle are windows of the interval). */
#ifndef WEIR_EXPORTERS_KAFKA_STATISTICS_H
#define WEIR_EXPORTERS_KAFKA_STATISTICS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weir_kafka_statistics {
    uint64_t messages, bytes;     /* waiting or under way */
    uint64_t retries, timeouts;   /* requests, since this producer was made */
    uint64_t disconnects;         /* likewise */
    uint64_t brokers, brokers_up; /* those that are known by a number, and those of them with a connection */
    uint64_t rtt_us;              /* of the slowest broker, mean */
    uint64_t throttle_us;         /* likewise: how long a broker asked to wait, for a quota */
};

/* False: it is no such JSON, and *out is as it was. */
bool weir_kafka_statistics_read(const char *json, size_t size, struct weir_kafka_statistics *out);
#endif
