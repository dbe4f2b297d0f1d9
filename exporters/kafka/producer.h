/* producer.h - librdkafka's producer and how large its messages may be.
 *
 *   asking     the topic's max.message.bytes (DescribeConfigs), for some seconds at most: nothing is produced meanwhile
 *   producing  with that as the bound of messages and record batches
 *   changing   the bound was wrong, or the producer broke for good: once nothing is under way, another one is made
 *
 * The topic is asked again each minute, and when a broker says that something was too large. Where it may not be asked
 * or is not there, Kafka's default is taken, and halved each time that a broker says so.
 * Sources: librdkafka 2.0, CONFIGURATION.md (message.max.bytes, batch.size) and INTRODUCTION.md (fatal errors); Apache
 * Kafka documentation, topic configuration max.message.bytes: the largest record batch, after compression. */
#ifndef WEIR_EXPORTERS_KAFKA_PRODUCER_H
#define WEIR_EXPORTERS_KAFKA_PRODUCER_H
#include "collector/core/log.h"
#include "exporters/exporter.h"
#include "exporters/kafka/statistics.h"
#include "exporters/kafka/wave.h"

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

enum { WEIR_KAFKA_LIMIT_LEAST = 1000 }; /* message.max.bytes of librdkafka takes no less */

enum weir_kafka_metric {
    WEIR_KAFKA_DELIVERED,
    WEIR_KAFKA_FAILED,
    WEIR_KAFKA_TOO_LARGE,
    WEIR_KAFKA_BYTES,
    WEIR_KAFKA_TOPIC_MISSING, /* errors by reason, to WEIR_KAFKA_OTHER */
    WEIR_KAFKA_UNREACHABLE,
    WEIR_KAFKA_LEADER,
    WEIR_KAFKA_REPLICAS,
    WEIR_KAFKA_NOT_ALLOWED,
    WEIR_KAFKA_TIMED_OUT,
    WEIR_KAFKA_FATAL,
    WEIR_KAFKA_OTHER,
    WEIR_KAFKA_PRODUCERS,
    WEIR_KAFKA_LIMIT,
    WEIR_KAFKA_BUFFERED_MESSAGES,
    WEIR_KAFKA_BUFFERED_BYTES,
    WEIR_KAFKA_RETRIES,
    WEIR_KAFKA_TIMEOUTS,
    WEIR_KAFKA_DISCONNECTS,
    WEIR_KAFKA_BROKERS_UP,
    WEIR_KAFKA_RTT,
    WEIR_KAFKA_THROTTLE,
    WEIR_KAFKA_LEADERS_MOVED,
    WEIR_KAFKA_LEADERLESS,
    WEIR_KAFKA_METRICS
};

struct weir_kafka_producer {
    rd_kafka_t *rk; /* NULL: there is none at the moment */
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    int event_fd;
    struct weir_kafka_wave wave;
    _Atomic int32_t partition; /* of the last message; any thread of librdkafka */
    const struct weir_exporter_config *config;
    const struct weir_clock *clock;
    struct weir_metric_set *set;
    uint64_t limit;     /* bytes a message, of this producer */
    uint64_t described; /* as the topic says; 0: it did not */
    unsigned halvings;  /* since it last said so */
    bool asking, asked, broken;
    uint64_t asked_ns, made_ns;
    struct weir_kafka_statistics last; /* of this producer */
    struct weir_log_limit error_limit, log_limit, topic_limit, leader_limit, quota_limit;
};

/* Checks the settings; connects to nothing. config, clock and set stay the caller's. */
enum weir_status weir_kafka_producer_open(struct weir_kafka_producer *producer,
                                          const struct weir_exporter_config *config, const struct weir_clock *clock,
                                          struct weir_metric_set *set, struct weir_error *err);
/* Whether messages may be produced now; makes and replaces the producer as needed. in_flight: messages that wait for
 * their report. */
bool weir_kafka_producer_ready(struct weir_kafka_producer *producer, uint64_t in_flight);
/* Whether one more message may be produced, or reports have to come first. */
bool weir_kafka_producer_takes(struct weir_kafka_producer *producer, uint64_t in_flight);
/* Copies value and key. *full: librdkafka's buffer is, for now. Else false with err set: it will not take this message.
 */
bool weir_kafka_produce(struct weir_kafka_producer *producer, const struct weir_buffer *value, const char *key,
                        size_t key_size, void *opaque, bool *full, rd_kafka_resp_err_t *err);
/* The next event that has delivery reports, for rd_kafka_event_destroy(); NULL: none for now. Others are dealt with. */
rd_kafka_event_t *weir_kafka_producer_reports(struct weir_kafka_producer *producer);
/* A broker said that a message, or the record batch that it was in, was too large. */
void weir_kafka_producer_too_large(struct weir_kafka_producer *producer);
/* Which series of errors it belongs to. */
enum weir_kafka_metric weir_kafka_reason(rd_kafka_resp_err_t err);
/* Until something may have come, weir_kafka_producer_wake() is called, or timeout_ms is over. */
void weir_kafka_producer_wait(struct weir_kafka_producer *producer, int timeout_ms);
void weir_kafka_producer_wake(struct weir_kafka_producer *producer); /* any thread */
/* What is under way is forgotten: its outcome stays unknown. */
void weir_kafka_producer_close(struct weir_kafka_producer *producer);
#endif
