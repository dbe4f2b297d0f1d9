#include "exporters/kafka/producer.h"
#include "exporters/kafka/settings.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
    LIMIT_DEFAULT = 1000000, /* Kafka's own is 1,048,588 with the batch's head: message.max.bytes of a broker */
    LIMIT_MOST = 100 << 20,
    ASK_TIMEOUT_MS = 5000,
    EVENTS_AT_ONCE = 1000,
    FLUSH_MS = 1,
};
#define ASK_AGAIN (60 * WEIR_S)

enum weir_kafka_metric weir_kafka_reason(rd_kafka_resp_err_t err) {
    switch (err) {
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION: return WEIR_KAFKA_TOPIC_MISSING;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN: return WEIR_KAFKA_UNREACHABLE;
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER: return WEIR_KAFKA_LEADER;
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND: return WEIR_KAFKA_REPLICAS;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED: return WEIR_KAFKA_NOT_ALLOWED;
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT: return WEIR_KAFKA_TIMED_OUT;
    case RD_KAFKA_RESP_ERR__FATAL: return WEIR_KAFKA_FATAL;
    default: return WEIR_KAFKA_OTHER;
    }
}

static uint64_t bound(uint64_t bytes) {
    return bytes < WEIR_KAFKA_LIMIT_LEAST ? WEIR_KAFKA_LIMIT_LEAST : bytes > LIMIT_MOST ? LIMIT_MOST : bytes;
}

static uint64_t wanted(const struct weir_kafka_producer *producer) {
    return bound((producer->described != 0 ? producer->described : LIMIT_DEFAULT) >> producer->halvings);
}

/* ---- its life ---- */

enum weir_status weir_kafka_producer_open(struct weir_kafka_producer *producer,
                                          const struct weir_exporter_config *config, const struct weir_clock *clock,
                                          struct weir_metric_set *set, struct weir_error *err) {
    *producer = (struct weir_kafka_producer){.event_fd = -1, .config = config, .clock = clock, .set = set};
    rd_kafka_conf_t *conf = weir_kafka_settings(config, LIMIT_DEFAULT, err);
    if (conf == NULL) return WEIR_INVALID;
    char why[256];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why); /* settings that do not go together */
    if (rk == NULL) {
        rd_kafka_conf_destroy(conf);
        return weir_fail(err, WEIR_INVALID, 0, false, "exporters.%s: settings: %s", config->name, why);
    }
    rd_kafka_destroy(rk);
    producer->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (producer->event_fd < 0)
        return weir_fail(err, WEIR_IO, errno, false, "exporters.%s: eventfd: %s", config->name, strerror(errno));
    return WEIR_OK;
}

static void unmake(struct weir_kafka_producer *producer) {
    if (producer->rk == NULL) return;
    if (producer->topic != NULL) rd_kafka_topic_destroy(producer->topic);
    rd_kafka_queue_io_event_enable(producer->queue, -1, NULL, 0);
    rd_kafka_queue_destroy(producer->queue);
    rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    rd_kafka_destroy(producer->rk);
    producer->rk = NULL;
    producer->topic = NULL;
    producer->asking = false;
    weir_gauge(producer->set, WEIR_KAFKA_BROKERS_UP, 0);
}

/* As `murmur2_random`, and it says which one that was. */
static int32_t partition_of(const rd_kafka_topic_t *topic, const void *key, size_t key_size, int32_t partition_count,
                            void *self, void *message) {
    struct weir_kafka_producer *producer = self;
    int32_t partition = rd_kafka_msg_partitioner_murmur2_random(topic, key, key_size, partition_count, self, message);
    atomic_store_explicit(&producer->partition, partition, memory_order_relaxed);
    return partition;
}

static uint64_t number_of(const rd_kafka_conf_t *conf, const char *name) {
    char text[32];
    size_t size = sizeof text;
    return rd_kafka_conf_get(conf, name, text, &size) == RD_KAFKA_CONF_OK ? strtoull(text, NULL, 10) : 0;
}

static bool make(struct weir_kafka_producer *producer) {
    struct weir_error err = {0};
    char why[256] = "out of memory";
    producer->limit = wanted(producer);
    producer->made_ns = weir_mono_ns(producer->clock);
    producer->broken = false;
    producer->last = (struct weir_kafka_statistics){0};
    rd_kafka_conf_t *conf = weir_kafka_settings(producer->config, producer->limit, &err);
    if (conf != NULL) {
        rd_kafka_conf_set_events(conf,
                                 RD_KAFKA_EVENT_DR | RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS | RD_KAFKA_EVENT_LOG);
        weir_kafka_wave_begin(&producer->wave, number_of(conf, "linger.ms") * WEIR_MS, number_of(conf, "batch.size"));
        atomic_store_explicit(&producer->partition, -1, memory_order_relaxed);
        producer->rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
        if (producer->rk == NULL) rd_kafka_conf_destroy(conf);
    }
    if (producer->rk == NULL) { /* the settings were good at the start: no threads, no descriptors */
        weir_log_limited(&producer->error_limit, WEIR_LOG_ERROR, "kafka_no_producer exporter=%s why=\"%s\"",
                         producer->config->name, conf == NULL ? err.text : why);
        return false;
    }
    rd_kafka_topic_conf_t *topic_conf = rd_kafka_default_topic_conf_dup(producer->rk);
    rd_kafka_topic_conf_set_partitioner_cb(topic_conf, partition_of);
    rd_kafka_topic_conf_set_opaque(topic_conf, producer);
    producer->topic = rd_kafka_topic_new(producer->rk, producer->config->kafka.topic, topic_conf);
    if (producer->topic == NULL) rd_kafka_topic_conf_destroy(topic_conf);
    producer->queue = rd_kafka_queue_get_main(producer->rk);
    rd_kafka_set_log_queue(producer->rk, NULL);
    static const uint64_t one = 1;
    rd_kafka_queue_io_event_enable(producer->queue, producer->event_fd, &one, sizeof one);
    weir_count(producer->set, WEIR_KAFKA_PRODUCERS, 1);
    weir_gauge(producer->set, WEIR_KAFKA_LIMIT, producer->limit);
    return producer->topic != NULL;
}

/* Asks for the topic's configuration; the answer is an event. */
static void ask(struct weir_kafka_producer *producer) {
    rd_kafka_ConfigResource_t *resource =
        rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, producer->config->kafka.topic);
    rd_kafka_AdminOptions_t *options = rd_kafka_AdminOptions_new(producer->rk, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS);
    char why[64];
    if (resource != NULL && options != NULL) {
        rd_kafka_AdminOptions_set_request_timeout(options, ASK_TIMEOUT_MS, why, sizeof why);
        rd_kafka_DescribeConfigs(producer->rk, &resource, 1, options, producer->queue);
        producer->asking = true;
    }
    producer->asked_ns = weir_mono_ns(producer->clock);
    if (options != NULL) rd_kafka_AdminOptions_destroy(options);
    if (resource != NULL) rd_kafka_ConfigResource_destroy(resource);
}

bool weir_kafka_producer_ready(struct weir_kafka_producer *producer, uint64_t in_flight) {
    uint64_t now = weir_mono_ns(producer->clock);
    bool change = producer->rk != NULL && (producer->broken || producer->limit != wanted(producer));
    if (change && in_flight > 0) return false;
    if (change) unmake(producer);
    if (producer->rk == NULL) {
        if (producer->made_ns != 0 && !change && now - producer->made_ns < WEIR_S)
            return false; /* it failed just now */
        if (!make(producer)) {
            unmake(producer);
            return false;
        }
        if (!producer->asked) ask(producer);
    }
    if (!producer->asking && now - producer->asked_ns >= ASK_AGAIN) ask(producer);
    return producer->asked;
}

bool weir_kafka_producer_takes(struct weir_kafka_producer *producer, uint64_t in_flight) {
    return weir_kafka_wave_takes(&producer->wave, weir_mono_ns(producer->clock), in_flight);
}

bool weir_kafka_produce(struct weir_kafka_producer *producer, const struct weir_buffer *value, const char *key,
                        size_t key_size, void *opaque, bool *full, rd_kafka_resp_err_t *err) {
    *full = false;
    *err = RD_KAFKA_RESP_ERR_NO_ERROR;
    if (rd_kafka_produce(producer->topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value->bytes, value->size, key,
                         key_size, opaque) == 0) {
        int32_t partition = atomic_load_explicit(&producer->partition, memory_order_relaxed);
        /* Takes the time that is given when something is under way; that it was called is what wakes the brokers. */
        if (weir_kafka_wave_add(&producer->wave, partition, value->size)) rd_kafka_flush(producer->rk, FLUSH_MS);
        return true;
    }
    *err = rd_kafka_last_error();
    *full = *err == RD_KAFKA_RESP_ERR__QUEUE_FULL;
    if (*err == RD_KAFKA_RESP_ERR__FATAL) producer->broken = true;
    return false;
}

void weir_kafka_producer_too_large(struct weir_kafka_producer *producer) {
    if (producer->limit != wanted(producer)) return; /* already known */
    if (producer->limit > WEIR_KAFKA_LIMIT_LEAST) producer->halvings++;
    if (!producer->asking) ask(producer);
    weir_log_limited(&producer->topic_limit, WEIR_LOG_WARN,
                     "kafka_message_too_large exporter=%s topic=%s limit=%llu next=%llu", producer->config->name,
                     producer->config->kafka.topic, (unsigned long long)producer->limit,
                     (unsigned long long)wanted(producer));
}

/* ---- events ---- */

static void answered(struct weir_kafka_producer *producer, rd_kafka_event_t *event) {
    const rd_kafka_DescribeConfigs_result_t *result = rd_kafka_event_DescribeConfigs_result(event);
    rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    size_t count = 0, entry_count = 0;
    const rd_kafka_ConfigResource_t **resources = result != NULL && err == RD_KAFKA_RESP_ERR_NO_ERROR
                                                      ? rd_kafka_DescribeConfigs_result_resources(result, &count)
                                                      : NULL;
    if (count > 0) err = rd_kafka_ConfigResource_error(resources[0]);
    const rd_kafka_ConfigEntry_t **entries = count > 0 && err == RD_KAFKA_RESP_ERR_NO_ERROR
                                                 ? rd_kafka_ConfigResource_configs(resources[0], &entry_count)
                                                 : NULL;
    uint64_t bytes = 0;
    for (size_t i = 0; i < entry_count; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (value != NULL && strcmp(rd_kafka_ConfigEntry_name(entries[i]), "max.message.bytes") == 0)
            bytes = strtoull(value, NULL, 10);
    }
    producer->asking = false;
    /* A broker that is away is asked until it is there: without it nothing could be produced either. */
    bool away = weir_kafka_reason(err) == WEIR_KAFKA_UNREACHABLE || weir_kafka_reason(err) == WEIR_KAFKA_TIMED_OUT;
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        weir_count(producer->set, weir_kafka_reason(err), 1);
        weir_log_limited(&producer->topic_limit, WEIR_LOG_WARN, "kafka_topic_unknown exporter=%s topic=%s why=\"%s\"",
                         producer->config->name, producer->config->kafka.topic, rd_kafka_err2str(err));
    } else if (bytes != 0 && bytes != producer->described) {
        producer->described = bytes;
        producer->halvings = 0;
        weir_log(WEIR_LOG_INFO, "kafka_topic exporter=%s topic=%s max_message_bytes=%llu", producer->config->name,
                 producer->config->kafka.topic, (unsigned long long)bytes);
    }
    if (away && !producer->asked) {
        ask(producer);
    } else {
        producer->asked = true;
    }
}

static void failed(struct weir_kafka_producer *producer, rd_kafka_event_t *event) {
    rd_kafka_resp_err_t err = rd_kafka_event_error(event);
    weir_count(producer->set, weir_kafka_reason(err), 1);
    if (err == RD_KAFKA_RESP_ERR__FATAL) {
        producer->broken = true;
        rd_kafka_purge(producer->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT); /* its reports come now */
    }
    weir_log_limited(&producer->error_limit, WEIR_LOG_WARN, "kafka_error exporter=%s code=%s why=\"%s\"",
                     producer->config->name, rd_kafka_err2name(err), rd_kafka_event_error_string(event));
}

static void logged(struct weir_kafka_producer *producer, rd_kafka_event_t *event) {
    const char *facility, *text;
    int level; /* of syslog: 3 is an error, 6 for information */
    if (rd_kafka_event_log(event, &facility, &text, &level) != 0 || level > 5) return;
    weir_log_limited(&producer->log_limit, WEIR_LOG_WARN, "kafka_log exporter=%s facility=%s text=\"%s\"",
                     producer->config->name, facility, text);
}

static uint64_t more(uint64_t now, uint64_t before) { /* a broker that left the cluster takes its counts along */
    return now > before ? now - before : 0;
}

/* What librdkafka copes with by itself, and says nothing of. */
static void look_at_topic(struct weir_kafka_producer *producer, struct weir_kafka_statistics *now) {
    const struct weir_exporter_config *config = producer->config;
    uint32_t without, moved = weir_kafka_leaders_moved(&producer->last, now, &without);
    weir_count(producer->set, WEIR_KAFKA_LEADERS_MOVED, moved);
    weir_gauge(producer->set, WEIR_KAFKA_LEADERLESS, without);
    if (moved + without > 0)
        weir_log_limited(&producer->leader_limit, WEIR_LOG_WARN,
                         "kafka_leader_moved exporter=%s topic=%s partitions=%u moved=%u without=%u", config->name,
                         config->kafka.topic, now->partitions, moved, without);
    if (now->throttle_us > 0)
        weir_log_limited(&producer->quota_limit, WEIR_LOG_WARN, "kafka_throttled exporter=%s ms=%llu", config->name,
                         (unsigned long long)now->throttle_us / 1000);
}

static void counted(struct weir_kafka_producer *producer, rd_kafka_event_t *event) {
    struct weir_kafka_statistics now;
    const char *json = rd_kafka_event_stats(event);
    if (json == NULL || !weir_kafka_statistics_read(json, strlen(json), producer->config->kafka.topic, &now)) return;
    struct weir_metric_set *set = producer->set;
    weir_gauge(set, WEIR_KAFKA_BUFFERED_MESSAGES, now.messages);
    weir_gauge(set, WEIR_KAFKA_BUFFERED_BYTES, now.bytes);
    weir_count(set, WEIR_KAFKA_RETRIES, more(now.retries, producer->last.retries));
    weir_count(set, WEIR_KAFKA_TIMEOUTS, more(now.timeouts, producer->last.timeouts));
    weir_count(set, WEIR_KAFKA_DISCONNECTS, more(now.disconnects, producer->last.disconnects));
    weir_gauge(set, WEIR_KAFKA_BROKERS_UP, now.brokers_up);
    weir_gauge(set, WEIR_KAFKA_RTT, now.rtt_us * 1000);
    weir_gauge(set, WEIR_KAFKA_THROTTLE, now.throttle_us * 1000);
    look_at_topic(producer, &now);
    producer->last = now;
}

rd_kafka_event_t *weir_kafka_producer_reports(struct weir_kafka_producer *producer) {
    for (int i = 0; producer->rk != NULL && i < EVENTS_AT_ONCE; i++) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(producer->queue, 0);
        if (event == NULL) return NULL;
        switch (rd_kafka_event_type(event)) {
        case RD_KAFKA_EVENT_DR: return event;
        case RD_KAFKA_EVENT_DESCRIBECONFIGS_RESULT: answered(producer, event); break;
        case RD_KAFKA_EVENT_ERROR: failed(producer, event); break;
        case RD_KAFKA_EVENT_STATS: counted(producer, event); break;
        case RD_KAFKA_EVENT_LOG: logged(producer, event); break;
        default: break;
        }
        rd_kafka_event_destroy(event);
    }
    if (producer->rk != NULL) weir_kafka_producer_wake(producer); /* there may be more */
    return NULL;
}

void weir_kafka_producer_wait(struct weir_kafka_producer *producer, int timeout_ms) {
    struct pollfd poll_fd = {.fd = producer->event_fd, .events = POLLIN};
    uint64_t count;
    if (poll(&poll_fd, 1, timeout_ms) > 0 && read(producer->event_fd, &count, sizeof count) < 0) return;
}

void weir_kafka_producer_wake(struct weir_kafka_producer *producer) {
    static const uint64_t one = 1;
    if (write(producer->event_fd, &one, sizeof one) < 0) return; /* it is full of wakings already */
}

void weir_kafka_producer_close(struct weir_kafka_producer *producer) {
    unmake(producer);
    if (producer->event_fd >= 0) close(producer->event_fd);
    producer->event_fd = -1;
}
