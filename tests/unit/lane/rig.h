/* rig.h - real lanes between a receiver and an exporter that do as the test says. The queue has no thread of its own:
 * the test drives it, in the test's time. */
#ifndef TESTS_UNIT_LANE_RIG_H
#define TESTS_UNIT_LANE_RIG_H
#include "collector/core/receipt.h"
#include "collector/core/wire.h"
#include "collector/lane/lane.h"
#include "collector/lane/overload.h"
#include "collector/sample/meter.h"
#include "collector/sample/steering.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include <poll.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { RIG_BATCHES_MAX = 8192, RIG_LANES_MAX = 8 };
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))

struct rig_receipt {
    struct weir_receipt receipt; /* first */
    unsigned answers, owned;
};

static struct rig {
    /* set by the test before rig_build() */
    uint32_t lane_count;
    const char *policy_text;          /* NULL: everything is kept */
    const char *journal_folder;       /* NULL: nothing is durable */
    const struct weir_log_disk *disk; /* the journal's; NULL: the system's */
    const char *spool_folder;         /* NULL: the queue has memory only */
    bool no_exporter;
    bool steers;                               /* there is a board, and a meter a lane */
    uint64_t max_spans, max_bytes, max_age_ns; /* of a batch; 0 = the default */
    uint64_t queue_bytes, queue_age_ns;        /* 0 = the default */
    size_t intake_bytes;                       /* 0 = the default */
    enum weir_settlement settles;              /* what the exporter answers */
    bool keeps;                                /* it answers nothing before it is closed, and then RETRY */
    uint32_t rejects;                          /* of each batch that it takes */

    struct weir_config *config;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_ledger *ledger;
    struct weir_aggregate *aggregate;
    struct weir_policy *policy;
    struct weir_budget intake;
    struct weir_queue *queue;
    struct weir_journal *journal;
    struct weir_steering *steering;
    struct weir_meter *meters[RIG_LANES_MAX];
    struct weir_lanes *lanes;
    struct weir_mailbox home; /* receipts' */
    struct weir_receiver_env receivers[RIG_LANES_MAX];
    _Atomic unsigned opened, started, stopped, closed, reloads;
    bool running;
    _Atomic uint64_t now_ns;
    uint32_t service, operation;
    uint64_t random;

    struct weir_ticket *kept[RIG_BATCHES_MAX];
    uint32_t kept_count;
    struct {
        uint32_t spans;
        size_t size;
    } batches[RIG_BATCHES_MAX]; /* as the exporter saw them */
    uint32_t batch_count;
    uint64_t spans_seen, span_id_sum;
    double weight_seen;
    uint64_t thresholds_seen[57]; /* spans by how often their T was halved */
} rig;

static uint64_t rig_now(void *self) {
    (void)self;
    return rig.now_ns;
}
static const struct weir_clock rig_clock = {.mono_ns = rig_now, .unix_ns = rig_now, .self = NULL};

/* ---- what stands in a span: see rig_body() ---- */

enum { RIG_SPAN_BYTES = 2 + 8 + 2 + 16 + 3 };

static inline void rig_put_id(uint8_t *out, uint64_t id) { /* big endian, as ids are */
    for (int i = 0; i < 8; i++)
        out[i] = (uint8_t)(id >> (56 - 8 * i));
}

static inline uint64_t rig_id(const uint8_t *body, uint32_t size) {
    uint64_t id = 0;
    if (size < RIG_SPAN_BYTES) {
        memcpy(&id, body + (size > 8), sizeof id);
        return id;
    }
    const uint8_t *at = body + (body[0] == 0x12 ? 2 : 20); /* restated spans keep the order of their fields */
    for (int i = 0; i < 8; i++)
        id = id << 8 | at[i];
    return id;
}

/* ---- the exporter ---- */

static enum weir_status rig_exporter_open(void **self, const struct weir_exporter_config *config,
                                          const struct weir_exporter_env *env, struct weir_error *err) {
    (void)config, (void)env, (void)err;
    *self = &rig;
    return WEIR_OK;
}
static void rig_exporter_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    (void)self;
    assert_true(rig.batch_count < RIG_BATCHES_MAX);
    assert_true(batch->span_count > 0);
    rig.batches[rig.batch_count].spans = batch->span_count;
    rig.batches[rig.batch_count++].size = batch->size;
    for (uint32_t i = 0; i < batch->span_count; i++) {
        const struct weir_span *span = &batch->spans[i];
        uint64_t id = rig_id(batch->bytes + span->offset, span->size);
        assert_int_equal(weir_trace_lane(span->trace_lo, rig.lane_count),
                         weir_trace_lane(batch->spans[0].trace_lo, rig.lane_count)); /* a batch is one lane's */
        assert_true(id == span->span_id);                                            /* the body is still its own */
        rig.span_id_sum += id;
        rig.weight_seen += weir_span_weight(span);
        rig.thresholds_seen[__builtin_ctzll(WEIR_THRESHOLD_MAX - span->threshold) == 56
                                ? 0
                                : 56 - __builtin_ctzll(WEIR_THRESHOLD_MAX - span->threshold)]++;
    }
    rig.spans_seen += batch->span_count;
    if (rig.keeps) {
        rig.kept[rig.kept_count++] = ticket;
        return;
    }
    if (rig.settles == WEIR_DELIVERED) ticket->rejected_spans = rig.rejects;
    ticket->settle(ticket, rig.settles, 0, "the rig says so");
}
static void rig_exporter_drive(void *self, int timeout_ms) {
    (void)self, (void)timeout_ms;
}
static void rig_exporter_wake(void *self) {
    (void)self;
}
static void rig_exporter_close(void *self) {
    (void)self;
    while (rig.kept_count > 0) {
        struct weir_ticket *ticket = rig.kept[--rig.kept_count];
        ticket->settle(ticket, WEIR_RETRY, 0, "closed");
    }
}
static const struct weir_exporter rig_exporter = {.type = "rig",
                                                  .open = rig_exporter_open,
                                                  .send = rig_exporter_send,
                                                  .drive = rig_exporter_drive,
                                                  .wake = rig_exporter_wake,
                                                  .close = rig_exporter_close};

/* ---- the receiver ---- */

static enum weir_status rig_receiver_open(void **self, const struct weir_receiver_env *env,
                                          const struct weir_config *config, struct weir_error *err) {
    (void)config, (void)err;
    rig.receivers[env->lane] = *env;
    rig.opened++;
    *self = &rig.receivers[env->lane];
    return WEIR_OK;
}
static enum weir_status rig_receiver_start(void *self, struct weir_error *err) {
    (void)self, (void)err;
    rig.started++;
    return WEIR_OK;
}
static void rig_receiver_reload(void *self, const struct weir_config *config) {
    (void)self, (void)config;
    rig.reloads++;
}
static void rig_receiver_stop(void *self) {
    (void)self;
    rig.stopped++;
}
static bool rig_receiver_idle(void *self) {
    (void)self;
    return true;
}
static void rig_receiver_close(void *self) {
    if (self != NULL) rig.closed++;
}
static const struct weir_receiver rig_receiver = {.name = "rig",
                                                  .open = rig_receiver_open,
                                                  .start = rig_receiver_start,
                                                  .reload = rig_receiver_reload,
                                                  .stop = rig_receiver_stop,
                                                  .idle = rig_receiver_idle,
                                                  .close = rig_receiver_close};

/* ---- the house ---- */

static inline void rig_reset(uint32_t lanes) {
    memset(&rig, 0, sizeof rig);
    rig.lane_count = lanes;
    rig.now_ns = 1000 * WEIR_S;
    rig.random = 88172645463325252ull;
}

static inline void rig_build(void) {
    struct weir_error err = {0};
    if (weir_config_load(NULL, &rig.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    struct weir_batch_config *batch = &rig.config->batch;
    if (rig.max_spans != 0) batch->max_spans = (uint32_t)rig.max_spans;
    if (rig.max_bytes != 0) batch->max_bytes = rig.max_bytes;
    if (rig.max_age_ns != 0) batch->max_age_ns = rig.max_age_ns;
    rig.intake.limit_bytes = rig.intake_bytes != 0 ? rig.intake_bytes : 256 << 20;
    rig.names = weir_names_new(1000, 1 << 20);
    rig.metrics = weir_metrics_new();
    rig.ledger = weir_ledger_new(rig.lane_count);
    rig.aggregate = weir_aggregate_new(&rig.config->aggregate, rig.lane_count, rig.names, rig.metrics, &rig_clock);
    rig.service = weir_names_intern(rig.names, "pay", 3);
    rig.operation = weir_names_intern(rig.names, "POST /pay", 9);
    const char *text = rig.policy_text;
    enum weir_status status =
        text == NULL ? weir_policy_load(NULL, rig.names, &rig.policy, &err)
                     : weir_policy_parse("policy", (const uint8_t *)text, strlen(text), rig.names, &rig.policy, &err);
    if (status != WEIR_OK) fail_msg("%s", err.text);
    struct weir_exporter_config exporter = {.type = "rig",
                                            .name = "rig",
                                            .memory_bytes = 1u << 30,
                                            .max_age_ns = 3600 * WEIR_S,
                                            .retry_initial_ns = WEIR_MS,
                                            .retry_max_ns = WEIR_MS,
                                            .max_in_flight = 4};
    if (rig.queue_bytes != 0) exporter.memory_bytes = rig.queue_bytes;
    if (rig.queue_age_ns != 0) exporter.max_age_ns = rig.queue_age_ns;
    struct weir_exporter_env exporter_env = {.names = rig.names, .metrics = rig.metrics, .clock = &rig_clock};
    assert_int_equal(weir_queue_open(&rig.queue, &rig_exporter, &exporter, &exporter_env, &err), WEIR_OK);
    if (rig.spool_folder != NULL) {
        const struct weir_queue_disk disk = {.memory_age_ns = WEIR_S};
        const struct weir_spool_options spool = {.directory = rig.spool_folder,
                                                 .exporter = "rig",
                                                 .segment_bytes = 1 << 20,
                                                 .max_bytes = 1 << 30,
                                                 .level = 1,
                                                 .names = rig.names,
                                                 .metrics = rig.metrics,
                                                 .clock = &rig_clock};
        if (weir_queue_spool(rig.queue, &disk, &spool, &err) != WEIR_OK) fail_msg("%s", err.text);
    }
    if (!rig.no_exporter) weir_ledger_add_exporter(rig.ledger, "rig", weir_queue_row, rig.queue);
    if (rig.journal_folder != NULL) {
        const struct weir_journal_options journal = {.directory = rig.journal_folder,
                                                     .segment_bytes = 1 << 20,
                                                     .max_bytes = 1 << 30,
                                                     .names = rig.names,
                                                     .metrics = rig.metrics,
                                                     .clock = &weir_clock_system,
                                                     .read = weir_tail_read_record,
                                                     .disk = rig.disk};
        if (weir_journal_open(&rig.journal, &journal, &err) != WEIR_OK) fail_msg("%s", err.text);
        if (weir_journal_start(rig.journal, &err) != WEIR_OK) fail_msg("%s", err.text);
    }
    if (rig.steers) {
        rig.steering = weir_steering_new(rig.names, rig.metrics, &rig_clock);
        assert_non_null(rig.steering);
        for (uint32_t lane = 0; lane < rig.lane_count; lane++) {
            rig.meters[lane] = weir_meter_new();
            assert_non_null(rig.meters[lane]);
        }
    }
    struct weir_lanes_env env = {.names = rig.names,
                                 .metrics = rig.metrics,
                                 .clock = &rig_clock,
                                 .aggregate = rig.aggregate,
                                 .ledger = rig.ledger,
                                 .intake = &rig.intake,
                                 .journal = rig.journal,
                                 .steering = rig.steering,
                                 .meters = rig.steers ? rig.meters : NULL,
                                 .queues = &rig.queue,
                                 .queue_count = rig.no_exporter ? 0 : 1};
    struct weir_snapshot snapshot = {.config = rig.config, .policy = rig.policy};
    if (weir_lanes_new(&rig.lanes, rig.lane_count, &env, &snapshot, &err) != WEIR_OK) fail_msg("%s", err.text);
    if (weir_lanes_open(rig.lanes, &rig_receiver, rig.config, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_true(weir_mailbox_open(&rig.home));
}

static inline void rig_start(void) {
    struct weir_error err = {0};
    if (weir_lanes_start(rig.lanes, &err) != WEIR_OK) fail_msg("%s", err.text);
    rig.running = true;
}

/* All lanes empty, all batches at the queue. */
static inline void rig_stop(void) {
    weir_lanes_stop(rig.lanes, rig.now_ns);
    rig.running = false;
}

/* All that the queue holds goes to the exporter, as far as it takes it. */
static inline void rig_drain(void) {
    for (int i = 0; i < 2000; i++)
        weir_queue_round(rig.queue);
}

static inline void rig_free(void) {
    struct weir_queue *queue = rig.queue;
    weir_lanes_free(rig.lanes);
    weir_ledger_free(rig.ledger);
    weir_queue_free(queue);
    weir_journal_close(rig.journal);
    weir_aggregate_free(rig.aggregate);
    for (uint32_t lane = 0; lane < rig.lane_count; lane++)
        weir_meter_free(rig.meters[lane]);
    weir_steering_free(rig.steering);
    weir_policy_unref(rig.policy);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    weir_config_free(rig.config);
    weir_mailbox_close(&rig.home);
    assert_int_equal(rig.intake.used_bytes, 0); /* whatever happened, all was given back */
}

/* ---- something to do on a lane's thread; on the test's own when the lanes do not run ---- */

struct rig_task {
    struct weir_mail mail; /* first */
    void (*body)(struct weir_sink *sink, void *argument);
    void *argument;
    struct weir_sink *sink;
    sem_t done;
};

static void rig_task_run(struct weir_mail *mail) {
    struct rig_task *task = (struct rig_task *)mail;
    task->body(task->sink, task->argument);
    sem_post(&task->done);
}

static inline void rig_on_lane(uint32_t lane, void (*body)(struct weir_sink *sink, void *argument), void *argument) {
    struct rig_task task = {
        .mail.deliver = rig_task_run, .body = body, .argument = argument, .sink = &rig.receivers[lane].sink};
    if (!rig.running) {
        body(task.sink, argument);
        return;
    }
    sem_init(&task.done, 0, 0);
    weir_mailbox_post(weir_loop_mailbox(rig.receivers[lane].loop), &task.mail);
    sem_wait(&task.done);
    sem_destroy(&task.done);
}

static inline void rig_nothing(struct weir_sink *sink, void *argument) {
    (void)sink, (void)argument;
}
/* Every lane has gone round at least twice since. */
static inline void rig_rounds(void) {
    for (int pass = 0; pass < 3; pass++) {
        for (uint32_t lane = 0; lane < rig.lane_count; lane++)
            rig_on_lane(lane, rig_nothing, NULL);
    }
}

/* ---- requests ---- */

static void rig_answered(struct weir_mail *mail) {
    struct rig_receipt *receipt = (struct rig_receipt *)mail;
    receipt->answers++;
    receipt->owned += weir_receipt_outcome(&receipt->receipt) == WEIR_OWNED;
}

/* A Span message where there is room for one: span id, trace id, and an unknown field that fills it up. In less the id
 * as a fixed 64, then zeros; in 8 bytes only the id. */
static inline void rig_body(uint8_t *body, uint32_t size, const struct weir_span *span) {
    static const uint8_t zeros[65536];
    uint8_t id[16];
    if (size <= 8) {
        memcpy(body, &span->span_id, 8);
        return;
    }
    uint8_t *at = body, *end = body + size;
    if (size >= RIG_SPAN_BYTES) {
        rig_put_id(id, span->span_id);
        at = weir_wire_put_bytes(at, 2, id, 8);
        rig_put_id(id, span->trace_hi);
        rig_put_id(id + 8, span->trace_lo);
        at = weir_wire_put_bytes(at, 1, id, 16);
        uint32_t rest = (uint32_t)(end - at), head = rest - 3 < 128 ? 3 : rest - 4 < 16384 ? 4 : 5;
        weir_wire_put_bytes(at, 100, zeros, rest - head);
        return;
    }
    at = weir_wire_put_fixed64(body, 2, span->span_id);
    while (end - at > 3 || end - at == 2)
        at = weir_wire_put_uint(at, 15, 0);
    if (end - at == 3) memcpy(at, (uint8_t[]){15 << 3, 0x80, 0}, 3);
}

static inline struct weir_batch *rig_request(uint32_t spans, uint32_t span_bytes, const char *resource) {
    struct weir_batch *batch = weir_batch_new(&rig.intake, 0);
    struct weir_origins *table = weir_origins_new(1);
    struct weir_origin_parts parts = {.resource = (const uint8_t *)resource,
                                      .resource_size = (uint32_t)strlen(resource)};
    int is_new;
    uint16_t index;
    struct weir_origin *origin = weir_origins_get(table, &parts, &is_new);
    origin->service = rig.service;
    weir_origins_free(table);
    assert_int_equal(weir_batch_origin(batch, origin, &index), WEIR_OK);
    weir_origin_unref(origin);
    for (uint32_t i = 0; i < spans; i++) {
        rig.random ^= rig.random << 13, rig.random ^= rig.random >> 7, rig.random ^= rig.random << 17;
        assert_int_equal(weir_batch_room(batch, span_bytes), WEIR_OK);
        struct weir_span span = {.trace_hi = 1,
                                 .trace_lo = rig.random,
                                 .span_id = rig.random >> 8,
                                 .randomness = rig.random % WEIR_THRESHOLD_MAX,
                                 .prior = 1,
                                 .offset = (uint32_t)batch->size,
                                 .size = span_bytes,
                                 .service = rig.service,
                                 .operation = rig.operation,
                                 .origin = index,
                                 .kind = WEIR_KIND_SERVER,
                                 .flags = WEIR_SPAN_ROOT,
                                 .duration_ns = WEIR_MS};
        rig_body(batch->bytes + batch->size, span_bytes, &span);
        batch->size += span_bytes;
        assert_int_equal(weir_batch_add(batch, &span), WEIR_OK);
    }
    return batch;
}

struct rig_offer {
    struct weir_batch *batch;
    enum weir_status status;
};
static void rig_offer_body(struct weir_sink *sink, void *argument) {
    struct rig_offer *offer = argument;
    offer->status = sink->spans(sink->self, WEIR_RECEIVER_GRPC, &offer->batch);
}

/* Offers the batch to a lane; what is refused is freed. receipt may be NULL. */
static inline enum weir_status rig_offer(uint32_t lane, struct weir_batch *batch, struct rig_receipt *receipt) {
    struct rig_offer offer = {.batch = batch};
    if (receipt != NULL) {
        *receipt = (struct rig_receipt){0};
        weir_receipt_init(&receipt->receipt, &rig.home, rig_answered, 1);
        batch->receipt = &receipt->receipt;
    }
    rig_on_lane(lane, rig_offer_body, &offer);
    if ((offer.batch == NULL) != (offer.status == WEIR_OK))
        fail_msg("status %d and the batch is %p", offer.status, (void *)offer.batch);
    weir_batch_unref(offer.batch);
    return offer.status;
}

/* ---- the ledger ---- */

static inline struct weir_lane_row rig_row(void) { /* of all lanes */
    struct weir_lane_row sum = {0}, row;
    uint64_t *to = (uint64_t *)(void *)&sum, *from = (uint64_t *)(void *)&row;
    for (uint32_t lane = 0; lane < rig.lane_count; lane++) {
        weir_ledger_read(rig.ledger, lane, &row);
        for (size_t i = 0; i < sizeof row / sizeof *from; i++)
            to[i] += from[i];
    }
    return sum;
}

/* A sample of the page, by its name and labels as they stand there. */
static inline long long rig_value(const char *sample) {
    struct weir_buffer page = {0};
    weir_ledger_expose(rig.ledger, &page);
    weir_buffer_byte(&page, 0);
    const char *at = strstr((const char *)page.bytes, sample);
    while (at != NULL && at[-1] != '\n')
        at = strstr(at + 1, sample); /* not in its HELP, which is before it */
    if (at == NULL) fail_msg("no sample %s", sample);
    long long value = atoll(at + strlen(sample));
    weir_buffer_free(&page);
    return value;
}

static inline long long rig_imbalance(void) {
    return rig_value(rig.no_exporter ? "weir_ledger_imbalance_spans{exporter=\"\"} "
                                     : "weir_ledger_imbalance_spans{exporter=\"rig\"} ");
}
#endif
