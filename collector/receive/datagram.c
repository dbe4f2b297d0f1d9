/* datagram.c - Weir datagrams over UDP: a lane's socket (receive/udp.h), who sends (receive/senders.h), what is in them
 * (decode/datagram.h). The spans of one bulk go into one batch: a batch a datagram would cost more than its spans. */
#include "collector/decode/datagram.h"
#include "collector/core/log.h"
#include "collector/core/networks.h"
#include "collector/core/signature.h"
#include "collector/receive/asks.h"
#include "collector/receive/udp.h"
#include "collector/sample/steering.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

/* A batch goes on when it holds so much, so that the caches hold it: its views are about as large as short spans. */
enum { BATCH_BYTES = 256 * 1024, BATCH_BYTES_MIN = 4096 };
/* A hole is counted lost between one and two of these after it was seen. What overtakes on a network does so within
 * milliseconds. */
#define TICK_NS (500 * WEIR_MS)
/* The board locks for all lanes, so a sender that goes on as before is said to follow so often. */
#define FOLLOWS_NS (1 * WEIR_S)

enum {
    LOST,
    REFUSED_HMAC,
    REFUSED_NETWORK,
    REFUSED_MALFORMED,
    REFUSED_VERSION,
    REFUSED_BEHIND,
    DUPLICATE,
    REORDERED,
    LATE,
    REPAIRED,
    SENDERS,
    EVICTED,
    METRICS
};
#define REFUSED(reason)                                                                                                \
    {                                                                                                                  \
        "datagrams_refused_total", "reason=\"" reason "\"", WEIR_COUNTER,                                              \
            "Datagrams that were read and not taken, by reason."                                                       \
    }
static const struct weir_metric table[METRICS] = {
    [LOST] = {"datagrams_lost_total", "reason=\"sequence\"", WEIR_COUNTER,
              "Datagrams that were not read whole, by reason."},
    [REFUSED_HMAC] = REFUSED("hmac"),
    [REFUSED_NETWORK] = REFUSED("network"),
    [REFUSED_MALFORMED] = REFUSED("malformed"),
    [REFUSED_VERSION] = REFUSED("version"),
    [REFUSED_BEHIND] = REFUSED("behind"),
    [DUPLICATE] = {"datagrams_duplicate_total", NULL, WEIR_COUNTER, "Datagrams that had been taken before."},
    [REORDERED] = {"datagrams_reordered_total", NULL, WEIR_COUNTER,
                   "Datagrams that were taken though a later one came before them."},
    [LATE] = {"datagrams_late_total", NULL, WEIR_COUNTER,
              "Datagrams that were taken after they had been counted lost by their sequence numbers."},
    [REPAIRED] = {"datagram_repaired_texts_total", NULL, WEIR_COUNTER,
                  "Texts in spans and resources of datagrams that were not UTF-8, and now have U+FFFD."},
    [SENDERS] = {"datagram_senders", NULL, WEIR_GAUGE,
                 "Senders, and runs of them, whose sequence numbers are followed."},
    [EVICTED] = {"datagram_senders_evicted_total", NULL, WEIR_COUNTER,
                 "Senders that were forgotten for want of room; senders_max bounds them."},
};

struct datagram_receiver {
    struct weir_timer tick; /* first */
    struct weir_loop *loop;
    struct weir_sink sink;
    struct weir_metrics *metrics;
    struct weir_steering *steering; /* NULL: proxies are told nothing */
    struct weir_metric_set *set;
    struct weir_otlp *otlp;
    struct weir_datagrams *decoder;
    struct weir_senders *senders;
    struct weir_senders_counts told; /* of them, what the metrics have */
    struct weir_signer *signer;      /* NULL: no signature is asked for */
    struct weir_asks *asks;
    struct weir_networks allow; /* count 0: all */
    char last_from[64];         /* the address that was looked at last, and what was found */
    bool last_allowed;
    struct weir_udp *udp;
    struct weir_batch *batch; /* of the bulk; NULL: no spans yet */
    size_t batch_bytes;       /* room that the next one begins with: what the last one had */
};

/* ---- what was found ---- */

static void refuse_spans(struct datagram_receiver *receiver, enum weir_refusal reason, uint64_t count) {
    if (count > 0) receiver->sink.spans_refused(receiver->sink.self, WEIR_RECEIVER_DATAGRAM, reason, count);
}

static void tell(struct datagram_receiver *receiver) {
    const struct weir_senders_counts *now = weir_senders_counts(receiver->senders);
    struct weir_senders_counts *told = &receiver->told;
    if (now->lost != told->lost) weir_count(receiver->set, LOST, now->lost - told->lost);
    if (now->reordered != told->reordered) weir_count(receiver->set, REORDERED, now->reordered - told->reordered);
    if (now->late != told->late) weir_count(receiver->set, LATE, now->late - told->late);
    if (now->duplicate != told->duplicate) weir_count(receiver->set, DUPLICATE, now->duplicate - told->duplicate);
    if (now->evicted != told->evicted) weir_count(receiver->set, EVICTED, now->evicted - told->evicted);
    if (now->senders != told->senders) weir_gauge(receiver->set, SENDERS, now->senders);
    *told = *now;
}

static void hand_on(struct datagram_receiver *receiver) {
    struct weir_batch *batch = receiver->batch;
    receiver->batch = NULL;
    if (batch == NULL) return;
    receiver->batch_bytes = batch->size + batch->size / 4;
    uint32_t count = batch->span_count;
    if (count > 0 && receiver->sink.spans(receiver->sink.self, WEIR_RECEIVER_DATAGRAM, &batch) == WEIR_OK) return;
    /* Refused: the sink has counted it, and nobody waits for an answer. */
    weir_batch_unref(batch);
}

/* ---- one datagram ---- */

static bool allowed(struct datagram_receiver *receiver, const char *from) {
    if (receiver->allow.count == 0) return true;
    if (receiver->last_from[0] == 0 || strcmp(receiver->last_from, from) != 0) {
        receiver->last_allowed = weir_networks_contain(&receiver->allow, from);
        strncpy(receiver->last_from, from, sizeof receiver->last_from - 1);
    }
    return receiver->last_allowed;
}

static bool genuine(struct datagram_receiver *receiver, const struct weir_datagram *datagram) {
    if (receiver->signer == NULL) return true;
    return datagram->hmac != NULL &&
           weir_signer_verify(receiver->signer, datagram->bytes, datagram->signed_size, datagram->hmac);
}

/* It says which plan its sender follows. */
static void note_followed(struct datagram_receiver *receiver, const struct weir_datagram *datagram, uint32_t service) {
    struct weir_sender_note *note = weir_senders_note(receiver->senders);
    uint64_t now_ns = weir_loop_now(receiver->loop);
    if (receiver->steering == NULL || datagram->policy_version == 0) return;
    if (note->version == datagram->policy_version && note->service == service &&
        now_ns - note->followed_ns < FOLLOWS_NS)
        return;
    char id[WEIR_DATAGRAM_SENDER_BYTES];
    weir_datagram_sender(datagram, id);
    const struct weir_follower sender = {WEIR_FOLLOW_DATAGRAM, id, service};
    weir_steering_follows(receiver->steering, &sender, datagram->policy_version);
    note->version = datagram->policy_version;
    note->service = service;
    note->followed_ns = now_ns;
}

/* Its sender says by which plan these were decided: only of roots, whose decisions are its own. */
static void weigh_by_version(struct datagram_receiver *receiver, const struct weir_datagram *datagram, uint64_t count) {
    struct weir_steering *steering = receiver->steering;
    struct weir_batch *batch = receiver->batch;
    if (steering == NULL || datagram->policy_version == 0 || count == 0) return;
    uint32_t first = batch->span_count - (uint32_t)count;
    for (uint32_t i = first; i < batch->span_count; i++) {
        struct weir_span *span = &batch->spans[i];
        unsigned known = WEIR_SPAN_TH | WEIR_SPAN_PRIOR | WEIR_SPAN_FORCED;
        if ((span->flags & WEIR_SPAN_ROOT) == 0 || (span->flags & known) != 0) continue;
        double prior = weir_steering_prior_of(steering, datagram->policy_version, span->service, span->operation);
        if (!(prior > 0)) continue;
        span->prior = prior;
        span->flags |= WEIR_SPAN_PRIOR_CHANGED | WEIR_SPAN_BY_POLICY;
    }
    note_followed(receiver, datagram, batch->spans[first].service);
}

static enum weir_status take_spans(struct datagram_receiver *receiver, const struct weir_datagram *datagram,
                                   struct weir_error *err) {
    if (datagram->spans == 0) return WEIR_OK;
    if (receiver->batch == NULL) {
        size_t room = receiver->batch_bytes < BATCH_BYTES_MIN ? BATCH_BYTES_MIN : receiver->batch_bytes;
        receiver->batch = weir_batch_new(receiver->sink.budget, room);
        if (receiver->batch == NULL) receiver->batch_bytes = 0; /* the next one asks for less */
    }
    struct weir_otlp_counts counts = {0};
    enum weir_status status = WEIR_FULL;
    if (receiver->batch != NULL)
        status = weir_datagrams_spans(receiver->decoder, datagram, receiver->batch, &counts, err);
    if (status == WEIR_FULL && receiver->batch != NULL && receiver->batch->span_count > 0) {
        hand_on(receiver); /* what it gathered may be what fills the budget */
        receiver->batch = weir_batch_new(receiver->sink.budget, BATCH_BYTES_MIN);
        if (receiver->batch != NULL)
            status = weir_datagrams_spans(receiver->decoder, datagram, receiver->batch, &counts, err);
    }
    if (status == WEIR_OK) {
        refuse_spans(receiver, WEIR_REFUSED_INVALID, counts.skipped);
        if (counts.repaired > 0) weir_count(receiver->set, REPAIRED, counts.repaired);
        weigh_by_version(receiver, datagram, counts.spans);
    } else {
        refuse_spans(receiver, status == WEIR_FULL ? WEIR_REFUSED_MEMORY : WEIR_REFUSED_INVALID, datagram->spans);
    }
    return status;
}

static void take_point(void *self, const struct weir_point *point) {
    struct datagram_receiver *receiver = self;
    receiver->sink.point(receiver->sink.self, WEIR_RECEIVER_DATAGRAM, point); /* what it rejects it counts */
}

static void take_points(struct datagram_receiver *receiver, const struct weir_datagram *datagram) {
    const struct weir_datagram_calls calls = {.self = receiver, .point = take_point};
    uint32_t senseless = weir_datagrams_points(receiver->decoder, datagram, &calls);
    if (senseless > 0)
        receiver->sink.points_rejected(receiver->sink.self, WEIR_RECEIVER_DATAGRAM, WEIR_POINT_MALFORMED, senseless);
}

static enum weir_status take_ask(struct datagram_receiver *receiver, const struct weir_datagram *datagram,
                                 struct weir_error *err) {
    const uint8_t *answer;
    struct weir_ask ask = {
        .datagram = datagram, .note = weir_senders_note(receiver->senders), .now_ns = weir_loop_now(receiver->loop)};
    enum weir_status status = weir_datagrams_service(receiver->decoder, datagram, &ask.service, err);
    if (status != WEIR_OK) {
        weir_asks_count(receiver->asks, WEIR_ASK_FAILED);
        return status;
    }
    note_followed(receiver, datagram, ask.service);
    size_t size = weir_asks_answer(receiver->asks, &ask, &answer);
    if (size == 0) return WEIR_OK;
    bool sent = weir_udp_answer(receiver->udp, answer, size);
    weir_asks_count(receiver->asks, sent ? WEIR_ASK_ANSWERED : WEIR_ASK_FAILED);
    return WEIR_OK;
}

/* The counters are what counts; whoever writes a sender wants to be told what is wrong with it. */
static void refuse(struct datagram_receiver *receiver, uint32_t row, const char *reason) {
    static struct weir_log_limit limit;
    weir_count(receiver->set, row, 1);
    weir_log_limited(&limit, WEIR_LOG_WARN, "datagram_refused reason=\"%s\"", reason);
}

/* A sequence number counts once its datagram is known to be its sender's own: a forged one moves no window. */
static void take_datagram(void *self, const uint8_t *bytes, size_t size, const char *from) {
    struct datagram_receiver *receiver = self;
    struct weir_datagram datagram;
    struct weir_error err;
    if (!allowed(receiver, from)) {
        refuse(receiver, REFUSED_NETWORK, "sent from outside receivers.datagram.allow");
        return;
    }
    enum weir_status status = weir_datagram_read(bytes, size, &datagram, &err);
    if (status != WEIR_OK) {
        refuse(receiver, status == WEIR_UNSUPPORTED ? REFUSED_VERSION : REFUSED_MALFORMED, err.text);
        return;
    }
    if (!genuine(receiver, &datagram)) {
        if (datagram.ask.at != NULL) weir_asks_count(receiver->asks, WEIR_ASK_UNSIGNED);
        refuse(receiver, REFUSED_HMAC, datagram.hmac == NULL ? "not signed" : "signed by another key, or changed");
        return;
    }
    switch (weir_senders_hear(receiver->senders, datagram.sender, datagram.start_ns, datagram.sequence,
                              weir_loop_now(receiver->loop))) {
    case WEIR_SENDER_TAKE: break;
    case WEIR_SENDER_BEHIND: weir_count(receiver->set, REFUSED_BEHIND, 1); return;
    case WEIR_SENDER_DUPLICATE: return;
    }
    status = take_spans(receiver, &datagram, &err);
    /* After the spans: what they say of their sender comes before what it is told. */
    if (datagram.ask.at != NULL && status != WEIR_INVALID) status = take_ask(receiver, &datagram, &err);
    if (status == WEIR_INVALID) {
        refuse(receiver, REFUSED_MALFORMED, err.text);
        return;
    }
    if (datagram.points > 0) take_points(receiver, &datagram);
    if (receiver->batch != NULL && receiver->batch->size >= BATCH_BYTES) hand_on(receiver);
}

static void end_bulk(void *self) {
    struct datagram_receiver *receiver = self;
    hand_on(receiver);
    tell(receiver);
    uint64_t due_ns = weir_loop_now(receiver->loop) + TICK_NS;
    if (receiver->told.senders > 0 && (receiver->tick.place == 0 || receiver->tick.due_ns > due_ns))
        weir_loop_set(receiver->loop, &receiver->tick, due_ns);
}

static void on_tick(struct weir_timer *timer) {
    struct datagram_receiver *receiver = (struct datagram_receiver *)timer; /* its first member */
    uint64_t now_ns = weir_loop_now(receiver->loop);
    uint64_t wait_ns = weir_senders_tick(receiver->senders, now_ns, TICK_NS);
    tell(receiver);
    if (wait_ns > 0) weir_loop_set(receiver->loop, timer, now_ns + wait_ns);
}

/* ---- the receiver ---- */

static void close_all(void *self) {
    struct datagram_receiver *receiver = self;
    if (receiver == NULL) return;
    weir_udp_close(receiver->udp);
    weir_batch_unref(receiver->batch);
    weir_senders_free(receiver->senders);
    weir_asks_free(receiver->asks);
    weir_signer_close(receiver->signer);
    weir_datagrams_free(receiver->decoder);
    weir_otlp_free(receiver->otlp);
    weir_metrics_close(receiver->metrics, receiver->set);
    free(receiver);
}

static void reload(void *self, const struct weir_config *config) {
    struct datagram_receiver *receiver = self;
    char why[160];
    weir_otlp_set_rules(receiver->otlp, config->rules);
    weir_senders_set_expiry(receiver->senders, config->datagram.sender_expiry_ns);
    if (receiver->told.senders > 0) /* the next look may be due sooner than it was */
        weir_loop_set(receiver->loop, &receiver->tick, weir_loop_now(receiver->loop) + TICK_NS);
    /* It was parsed when the configuration was read; a text that is none would let nobody in. */
    if (!weir_networks_parse(config->datagram.allow, &receiver->allow, why, sizeof why))
        receiver->allow = (struct weir_networks){.count = 1, .list = {{.prefix = 128}}};
    receiver->last_from[0] = 0;
    weir_udp_want_sender(receiver->udp, receiver->allow.count > 0 || receiver->steering != NULL);
}

static enum weir_status allocate(struct datagram_receiver *receiver, const struct weir_receiver_env *env,
                                 const struct weir_config *config, struct weir_error *err) {
    static const char unknown[] = "senders of datagrams"; /* the names' hash is keyed at random */
    receiver->set = weir_metrics_open(env->metrics, table, METRICS, "receiver=\"datagram\"");
    receiver->otlp = weir_otlp_new(env->names);
    if (receiver->otlp != NULL)
        receiver->decoder = weir_datagrams_new(receiver->otlp, env->names, config->aggregate.label_value_bytes_max);
    receiver->senders = weir_senders_new(config->datagram.senders_max, config->datagram.sender_expiry_ns,
                                         weir_names_hash(env->names, unknown, sizeof unknown));
    if (receiver->set == NULL || receiver->decoder == NULL || receiver->senders == NULL)
        return weir_fail(err, WEIR_FULL, ENOMEM, false, "datagram: no memory");
    const char *key_file = config->datagram.hmac_key_file;
    enum weir_status status = WEIR_OK;
    if (key_file[0] != 0)
        status = weir_signer_open(&receiver->signer, "receivers.datagram.hmac_key_file", key_file, err);
    if (status != WEIR_OK) return status;
    receiver->asks = weir_asks_new(env->steering, env->names, env->metrics, receiver->signer);
    return receiver->asks != NULL ? WEIR_OK : weir_fail(err, WEIR_FULL, ENOMEM, false, "datagram: no memory");
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct datagram_receiver *receiver = calloc(1, sizeof *receiver);
    if (receiver == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "datagram: no memory");
    receiver->tick.fire = on_tick;
    receiver->loop = env->loop;
    receiver->sink = env->sink;
    receiver->metrics = env->metrics;
    receiver->steering = env->steering;
    const struct weir_udp_options options = {.name = "datagram",
                                             .listen = &config->datagram.listen,
                                             .receive_buffer_bytes = config->datagram.receive_buffer_bytes,
                                             .datagram_bytes_max = 65535};
    const struct weir_udp_calls calls = {.self = receiver, .datagram = take_datagram, .round = end_bulk};
    enum weir_status status = allocate(receiver, env, config, err);
    if (status == WEIR_OK) status = weir_udp_open(&receiver->udp, env, &options, &calls, err);
    if (status != WEIR_OK) {
        close_all(receiver);
        return status;
    }
    reload(receiver, config);
    *self = receiver;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    return weir_udp_start(((struct datagram_receiver *)self)->udp, err);
}

static void stop(void *self) {
    struct datagram_receiver *receiver = self;
    weir_udp_stop(receiver->udp); /* with what the kernel holds */
    weir_loop_unset(receiver->loop, &receiver->tick);
    weir_senders_settle(receiver->senders);
    tell(receiver);
}

static bool idle(void *self) {
    (void)self; /* stop() took what there was, and nobody waits for an answer */
    return true;
}

const struct weir_receiver weir_receive_datagram = {
    .name = "datagram",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
