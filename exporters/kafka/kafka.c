/* kafka.c - batches as messages of a topic, one a trace and batch, and back from their delivery reports to tickets.
 *
 *   batch ──> flight ──produce──> messages in librdkafka ──report──> delivered | too large | failed
 *                ^                                                       │          │         │
 *                └────────── produced again: cut smaller, or when <──────│──────────┴─────────┘
 *                            others of the batch were delivered          └─> when all are settled: the ticket
 *
 * Who tries again: librdkafka what it has sent (idempotent: it knows what brokers have), the queue in front a batch of
 * which nothing was delivered. Where a part was, the rest is produced again here, so that no span comes twice while
 * this producer lives. docs/decisions/0011-kafka-who-retries.md */
#include "exporters/kafka/message.h"
#include "exporters/kafka/producer.h"
#include "exporters/kafka/settings.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MMAP_THRESHOLD = 8 << 20,
    TRIM_THRESHOLD = 16 << 20,
    FLIGHTS_MAX = 256, /* as config's max_in_flight */
    MESSAGE_HEAD =
        300, /* of a record batch, its record and its key, at most (Kafka protocol: 61, 21, 16, rounded up) */
    WHY_BYTES = 160,
};
#define AGAIN_AFTER WEIR_S

#define ERRORS(reason)                                                                                                 \
    {                                                                                                                  \
        "kafka_errors_total", "reason=\"" reason "\"", WEIR_COUNTER,                                                   \
            "Errors that brokers or librdkafka told, by reason."                                                       \
    }
#define MESSAGES(outcome)                                                                                              \
    {                                                                                                                  \
        "kafka_messages_total", "outcome=\"" outcome "\"", WEIR_COUNTER,                                               \
            "Messages that were settled, by outcome; what failed or was too large is produced again or its spans are " \
            "dropped."                                                                                                 \
    }
static const struct weir_metric metrics[WEIR_KAFKA_METRICS] = {
    [WEIR_KAFKA_DELIVERED] = MESSAGES("delivered"),
    [WEIR_KAFKA_FAILED] = MESSAGES("failed"),
    [WEIR_KAFKA_TOO_LARGE] = MESSAGES("too_large"),
    [WEIR_KAFKA_BYTES] = {"kafka_message_bytes_total", NULL, WEIR_COUNTER,
                          "Bytes of the messages that were delivered, before compression."},
    [WEIR_KAFKA_TOPIC_MISSING] = ERRORS("topic_missing"),
    [WEIR_KAFKA_UNREACHABLE] = ERRORS("unreachable"),
    [WEIR_KAFKA_LEADER] = ERRORS("leader"),
    [WEIR_KAFKA_REPLICAS] = ERRORS("replicas"),
    [WEIR_KAFKA_NOT_ALLOWED] = ERRORS("not_allowed"),
    [WEIR_KAFKA_TIMED_OUT] = ERRORS("timed_out"),
    [WEIR_KAFKA_FATAL] = ERRORS("fatal"),
    [WEIR_KAFKA_OTHER] = ERRORS("other"),
    [WEIR_KAFKA_PRODUCERS] = {"kafka_producers_made_total", NULL, WEIR_COUNTER,
                              "Producers made: at the start, when the topic's limit changed, after a fatal error."},
    [WEIR_KAFKA_LIMIT] = {"kafka_message_limit_bytes", NULL, WEIR_GAUGE,
                          "Most bytes that a message has: what the topic takes."},
    [WEIR_KAFKA_BUFFERED_MESSAGES] = {"kafka_buffered_messages", NULL, WEIR_GAUGE,
                                      "Messages that brokers have not acknowledged."},
    [WEIR_KAFKA_BUFFERED_BYTES] = {"kafka_buffered_bytes", NULL, WEIR_GAUGE,
                                   "Bytes of the messages that brokers have not acknowledged."},
    [WEIR_KAFKA_RETRIES] = {"kafka_request_retries_total", NULL, WEIR_COUNTER,
                            "Requests that librdkafka sent again: a leader moved, a broker was away."},
    [WEIR_KAFKA_TIMEOUTS] = {"kafka_request_timeouts_total", NULL, WEIR_COUNTER,
                             "Requests that a broker did not answer in time."},
    [WEIR_KAFKA_DISCONNECTS] = {"kafka_disconnects_total", NULL, WEIR_COUNTER,
                                "Connections to brokers that were lost."},
    [WEIR_KAFKA_BROKERS_UP] = {"kafka_brokers_up", NULL, WEIR_GAUGE, "Brokers that there is a connection to."},
    [WEIR_KAFKA_RTT] = {"kafka_broker_rtt_seconds", NULL, WEIR_GAUGE_NS,
                        "Mean time that the slowest broker took to answer, of the last seconds."},
    [WEIR_KAFKA_THROTTLE] = {"kafka_throttle_seconds", NULL, WEIR_GAUGE_NS,
                             "Mean time that brokers asked to wait, for a quota, of the last seconds."},
    [WEIR_KAFKA_LEADERS_MOVED] = {"kafka_leaders_moved_total", NULL, WEIR_COUNTER,
                                  "Times that a partition of the topic got another leader."},
    [WEIR_KAFKA_LEADERLESS] = {"kafka_partitions_without_leader", NULL, WEIR_GAUGE,
                               "Partitions of the topic that nothing can be written to: they have no leader."},
};

struct message {
    uint32_t first, end; /* spans, in the encoder's order of the batch */
    enum { UNDER_WAY, SETTLED, AGAIN } state;
};

/* One batch under way. */
struct flight {
    struct flight *next;
    const struct weir_batch *batch;
    struct weir_ticket *ticket;
    struct message *messages;
    uint32_t message_count, message_capacity;
    uint32_t made;      /* spans of the order that are in messages */
    uint32_t under_way; /* messages */
    uint32_t again;     /* likewise */
    uint32_t delivered, rejected;
    uint64_t again_ns; /* not before */
    uint32_t number;   /* in kafka.numbered */
    char why[WHY_BYTES];
};

struct kafka {
    struct weir_kafka_producer producer;
    struct weir_kafka_encoder encoder;
    const struct flight *encodes; /* whose batch the encoder was begun with */
    struct weir_buffer value;
    struct flight *flights; /* in order of arrival */
    struct flight *numbered[FLIGHTS_MAX];
    uint64_t under_way; /* messages, of all flights */
    unsigned settled;   /* since drive() began */
    struct weir_exporter_config config;
    const struct weir_clock *clock;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
};

/* ---- a flight and its ticket ---- */

static void land(struct kafka *kafka, struct flight *flight, enum weir_settlement how) {
    struct weir_ticket *ticket = flight->ticket;
    for (struct flight **at = &kafka->flights; *at != NULL; at = &(*at)->next) {
        if (*at != flight) continue;
        *at = flight->next;
        break;
    }
    kafka->numbered[flight->number] = NULL;
    if (kafka->encodes == flight) kafka->encodes = NULL;
    kafka->settled++;
    char why[WHY_BYTES];
    memcpy(why, flight->why, sizeof why);
    free(flight->messages);
    free(flight);
    ticket->settle(ticket, how, 0, why); /* may free ticket and batch */
}

/* Settles the ticket when there is nothing more to wait for. */
static void look_at(struct kafka *kafka, struct flight *flight) {
    if (flight->under_way > 0 || flight->made < flight->batch->span_count) return;
    if (flight->again > 0) {
        if (flight->delivered + flight->rejected == 0 && flight->again_ns != 0) land(kafka, flight, WEIR_RETRY);
        return;
    }
    flight->ticket->settled_spans = flight->batch->span_count;
    flight->ticket->rejected_spans = flight->rejected;
    land(kafka, flight, flight->delivered == 0 ? WEIR_REJECTED : WEIR_DELIVERED);
}

static void reject(struct flight *flight, uint32_t spans, const char *why) {
    flight->rejected += spans;
    snprintf(flight->why, sizeof flight->why, "kafka: %s", why);
}

/* ---- producing ---- */

static void *opaque_of(uint32_t flight, uint32_t message) {
    return (void *)(uintptr_t)(((uint64_t)flight << 32 | message) + 1);
}

static struct message *new_message(struct flight *flight, uint32_t first, uint32_t end) {
    if (flight->message_count == flight->message_capacity) {
        uint32_t capacity = flight->message_capacity == 0 ? 64 : 2 * flight->message_capacity;
        struct message *grown = realloc(flight->messages, capacity * sizeof *grown);
        if (grown == NULL) return NULL;
        flight->messages = grown;
        flight->message_capacity = capacity;
    }
    flight->messages[flight->message_count] = (struct message){first, end, UNDER_WAY};
    return &flight->messages[flight->message_count++];
}

enum produced { PRODUCED, REFUSED, NO_ROOM };

/* Makes one message of spans of [first, end). *next: behind the last that was dealt with. */
static enum produced produce(struct kafka *kafka, struct flight *flight, uint32_t first, uint32_t end, uint32_t *next) {
    size_t most = (size_t)kafka->producer.limit - MESSAGE_HEAD;
    char key[WEIR_KAFKA_KEY_BYTES];
    bool full;
    rd_kafka_resp_err_t err;
    *next = first;
    if (!weir_kafka_producer_takes(&kafka->producer, kafka->under_way)) return NO_ROOM;
    weir_buffer_clear(&kafka->value);
    *next = weir_kafka_encode(&kafka->encoder, first, end, most, &kafka->value);
    if (*next == first || kafka->value.failed) return NO_ROOM; /* of memory; there may be some later */
    if (kafka->value.size > most) {                            /* one span, and nothing smaller than it */
        weir_count(kafka->set, WEIR_KAFKA_TOO_LARGE, 1);
        reject(flight, *next - first, "a span is larger than a message may be");
        return REFUSED;
    }
    weir_kafka_key(&kafka->encoder, first, key);
    uint32_t index = flight->message_count;
    if (new_message(flight, first, *next) == NULL) return NO_ROOM;
    if (weir_kafka_produce(&kafka->producer, &kafka->value, key, sizeof key, opaque_of(flight->number, index), &full,
                           &err)) {
        flight->under_way++;
        kafka->under_way++;
        return PRODUCED;
    }
    flight->message_count--;
    *next = first;
    if (!full) { /* such as _FATAL: another producer is made, and this is tried again */
        weir_count(kafka->set, weir_kafka_reason(err), 1);
        if (err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) weir_kafka_producer_too_large(&kafka->producer);
    }
    return NO_ROOM;
}

/* Again what was given back, in smaller messages where the limit fell. */
static bool produce_again(struct kafka *kafka, struct flight *flight) {
    uint32_t count = flight->message_count; /* those that are added are under way */
    for (uint32_t i = 0; i < count && flight->again > 0; i++) {
        if (flight->messages[i].state != AGAIN) continue;
        uint32_t end = flight->messages[i].end, next;
        for (uint32_t first = flight->messages[i].first; first < end; first = next) {
            if (produce(kafka, flight, first, end, &next) == NO_ROOM) return false;
            flight->messages[i].first = next;
        }
        flight->messages[i].state = SETTLED;
        flight->again--;
    }
    flight->again_ns = 0;
    return true;
}

/* What can be produced now, is. */
static void advance(struct kafka *kafka) {
    if (kafka->flights == NULL && kafka->producer.rk != NULL) return;
    if (!weir_kafka_producer_ready(&kafka->producer, kafka->under_way)) return;
    uint64_t now = weir_mono_ns(kafka->clock);
    for (struct flight *flight = kafka->flights, *after; flight != NULL; flight = after) {
        after = flight->next;
        bool again = flight->again > 0 && flight->under_way == 0 && flight->again_ns <= now;
        if (flight->made == flight->batch->span_count && !again) continue;
        if (kafka->encodes != flight) {
            kafka->encodes = NULL;
            if (!weir_kafka_begin(&kafka->encoder, flight->batch)) return;
            kafka->encodes = flight;
        }
        while (flight->made < flight->batch->span_count) {
            uint32_t end = weir_kafka_trace_end(&kafka->encoder, flight->made);
            if (produce(kafka, flight, flight->made, end, &flight->made) == NO_ROOM) return;
        }
        if (again && !produce_again(kafka, flight)) return;
        look_at(kafka, flight);
    }
}

/* ---- reports ---- */

static void report(struct kafka *kafka, const rd_kafka_message_t *said) {
    uint64_t opaque = (uint64_t)(uintptr_t)said->_private - 1;
    struct flight *flight = kafka->numbered[opaque >> 32];
    struct message *message = &flight->messages[(uint32_t)opaque];
    uint32_t spans = message->end - message->first;
    flight->under_way--;
    kafka->under_way--;
    if (said->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        message->state = SETTLED;
        flight->delivered += spans;
        weir_count(kafka->set, WEIR_KAFKA_DELIVERED, 1);
        weir_count(kafka->set, WEIR_KAFKA_BYTES, said->len);
    } else if (said->err == RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE) {
        weir_count(kafka->set, WEIR_KAFKA_TOO_LARGE, 1);
        if (said->len * 2 <= WEIR_KAFKA_LIMIT_LEAST) { /* no smaller one would do */
            message->state = SETTLED;
            reject(flight, spans, rd_kafka_err2str(said->err));
        } else {
            weir_kafka_producer_too_large(&kafka->producer);
            message->state = AGAIN;
            flight->again++;
        }
    } else {
        weir_count(kafka->set, WEIR_KAFKA_FAILED, 1);
        weir_count(kafka->set, weir_kafka_reason(said->err), 1);
        snprintf(flight->why, sizeof flight->why, "kafka: %s", rd_kafka_err2str(said->err));
        message->state = AGAIN;
        flight->again++;
        flight->again_ns = weir_mono_ns(kafka->clock) + AGAIN_AFTER;
    }
    look_at(kafka, flight);
}

static void read_reports(struct kafka *kafka) {
    for (rd_kafka_event_t *event; (event = weir_kafka_producer_reports(&kafka->producer)) != NULL;) {
        const rd_kafka_message_t *said;
        while ((said = rd_kafka_event_message_next(event)) != NULL)
            report(kafka, said);
        rd_kafka_event_destroy(event);
    }
}

/* ---- the exporter ---- */

static void kafka_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    struct kafka *kafka = self;
    uint32_t number = 0;
    while (number < FLIGHTS_MAX && kafka->numbered[number] != NULL)
        number++;
    struct flight *flight = number < FLIGHTS_MAX ? calloc(1, sizeof *flight) : NULL;
    if (flight == NULL) {
        ticket->settle(ticket, WEIR_RETRY, 0, "kafka: out of memory");
        return;
    }
    flight->batch = batch;
    flight->ticket = ticket;
    flight->number = number;
    kafka->numbered[number] = flight;
    struct flight **last = &kafka->flights;
    while (*last != NULL)
        last = &(*last)->next;
    *last = flight;
    advance(kafka);
}

static void kafka_drive(void *self, int timeout_ms) {
    struct kafka *kafka = self;
    kafka->settled = 0;
    read_reports(kafka);
    advance(kafka);
    if (kafka->settled > 0 || timeout_ms <= 0) return;
    weir_kafka_producer_wait(&kafka->producer, timeout_ms < 100 ? timeout_ms : 100); /* also for what is due by time */
    read_reports(kafka);
    advance(kafka);
}

static void kafka_wake(void *self) {
    weir_kafka_producer_wake(&((struct kafka *)self)->producer);
}

static void kafka_close(void *self) {
    struct kafka *kafka = self;
    if (kafka == NULL) return;
    if (kafka->producer.rk != NULL) read_reports(kafka);
    weir_kafka_producer_close(&kafka->producer);
    while (kafka->flights != NULL) {
        snprintf(kafka->flights->why, WHY_BYTES, "kafka: closing");
        land(kafka, kafka->flights, WEIR_RETRY);
    }
    weir_kafka_encoder_free(&kafka->encoder);
    weir_buffer_free(&kafka->value);
    if (kafka->set != NULL) weir_metrics_close(kafka->registry, kafka->set);
    free(kafka);
}

static enum weir_status kafka_open(void **self, const struct weir_exporter_config *config,
                                   const struct weir_exporter_env *env, struct weir_error *err) {
    struct kafka *kafka = calloc(1, sizeof *kafka);
    if (kafka == NULL) return weir_fail(err, WEIR_FULL, 0, false, "kafka: out of memory");
    /* librdkafka allocates a compressor and its buffers anew for each record batch. Given back to the kernel each time,
     * their pages cost a fifth of all CPU time (1.42 against 1.18 s a million spans). */
    mallopt(M_MMAP_THRESHOLD, MMAP_THRESHOLD);
    mallopt(M_TRIM_THRESHOLD, TRIM_THRESHOLD);
    kafka->producer.event_fd = -1;
    kafka->config = *config;
    kafka->clock = env->clock;
    kafka->encoder.encoding = config->kafka.encoding;
    kafka->registry = env->metrics;
    char labels[160];
    snprintf(labels, sizeof labels, "exporter=\"%s\"", config->name);
    kafka->set = weir_metrics_open(env->metrics, metrics, WEIR_KAFKA_METRICS, labels);
    enum weir_status status =
        kafka->set == NULL ? weir_fail(err, WEIR_FULL, 0, false, "kafka: out of memory")
                           : weir_kafka_producer_open(&kafka->producer, &kafka->config, env->clock, kafka->set, err);
    if (status != WEIR_OK) {
        kafka_close(kafka);
        return status;
    }
    *self = kafka;
    return WEIR_OK;
}

static enum weir_status kafka_check(const struct weir_exporter_config *config, struct weir_error *err) {
    rd_kafka_conf_t *conf = weir_kafka_settings(config, 1000000, err);
    if (conf == NULL) return WEIR_INVALID;
    rd_kafka_conf_destroy(conf);
    return WEIR_OK;
}

const struct weir_exporter weir_export_kafka = {
    .type = "kafka",
    .check = kafka_check,
    .open = kafka_open,
    .send = kafka_send,
    .drive = kafka_drive,
    .wake = kafka_wake,
    .close = kafka_close,
};
