#include "collector/cli/spool/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_FLIGHT_MAX = 16, DRIVE_MS = 50, PAUSE_NS = 10000000 };
#define BACK_OFF_FIRST  (200 * WEIR_MS)
#define BACK_OFF_MAX    (5 * WEIR_S)
#define RETRY_AFTER_MAX (60 * WEIR_S)

enum flight_state { FREE, FLYING, WAITING };

struct flight {
    struct weir_ticket ticket; /* first: settle() gets back to the flight */
    struct weir_send *send;
    struct weir_batch *batch;
    uint64_t mark, retry_ns, sequence;
    uint32_t attempts;
    enum flight_state state;
};

struct weir_send {
    struct weir_send_options options;
    void *exporter;
    struct flight flights[IN_FLIGHT_MAX];
    uint32_t used, flying;
    uint64_t sequence;
    uint64_t next_ns;     /* the rate allows no batch before */
    uint64_t progress_ns; /* when something got through last */
    uint64_t failures;    /* answers in a row that said no */
    bool over;
    struct weir_send_counts counts;
};

static uint64_t now_of(const struct weir_send *send) {
    return weir_mono_ns(send->options.env.clock);
}

static void land(struct flight *flight, uint32_t delivered, uint32_t rejected, uint32_t left) {
    struct weir_send *send = flight->send;
    send->counts.delivered += delivered;
    send->counts.rejected += rejected;
    send->counts.left += left;
    send->options.settled(send->options.self, flight->mark, delivered, rejected, left);
    weir_batch_unref(flight->batch);
    flight->batch = NULL;
    flight->state = FREE;
    send->used--;
}

static uint64_t back_off(const struct weir_send *send) {
    uint64_t delay = BACK_OFF_FIRST;
    for (uint64_t i = 1; i < send->failures && delay < BACK_OFF_MAX; i++)
        delay *= 2;
    return delay < BACK_OFF_MAX ? delay : BACK_OFF_MAX;
}

static void settle(struct weir_ticket *ticket, enum weir_settlement how, uint64_t retry_after_ns, const char *why) {
    struct flight *flight = (struct flight *)(void *)ticket;
    struct weir_send *send = flight->send;
    uint32_t spans = flight->batch->span_count;
    uint32_t settled = how == WEIR_DELIVERED || ticket->settled_spans > spans ? spans : ticket->settled_spans;
    uint32_t rejected = ticket->rejected_spans < settled ? ticket->rejected_spans : settled;
    send->flying--;
    if (how == WEIR_RETRY) {
        uint64_t wait = back_off(send);
        send->failures++;
        send->counts.failing = true;
        if (retry_after_ns > RETRY_AFTER_MAX) retry_after_ns = RETRY_AFTER_MAX;
        flight->retry_ns = now_of(send) + (retry_after_ns > wait ? retry_after_ns : wait);
        flight->state = WAITING;
        if (why != NULL) snprintf(send->counts.left_why, sizeof send->counts.left_why, "%s", why);
        return;
    }
    send->failures = 0;
    send->counts.failing = false;
    send->progress_ns = now_of(send);
    if ((how == WEIR_REJECTED || rejected > 0) && why != NULL)
        snprintf(send->counts.rejected_why, sizeof send->counts.rejected_why, "%s", why);
    uint32_t refused = how == WEIR_REJECTED ? spans - settled : 0;
    land(flight, settled - rejected, rejected + refused, 0);
}

static void fly(struct weir_send *send, struct flight *flight) {
    flight->state = FLYING;
    flight->attempts++;
    send->flying++;
    send->options.exporter->send(send->exporter, flight->batch, &flight->ticket);
}

/* The one that came first of those that may be sent again; NULL: none. */
static struct flight *due(struct weir_send *send, uint64_t now) {
    struct flight *first = NULL;
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        struct flight *flight = &send->flights[i];
        if (flight->state == WAITING && flight->retry_ns <= now &&
            (first == NULL || flight->sequence < first->sequence))
            first = flight;
    }
    return first;
}

/* One round: what is due again, what the exporter has to do. While it fails one batch at a time is tried. */
static void turn(struct weir_send *send) {
    uint64_t now = now_of(send);
    const struct weir_send_options *options = &send->options;
    for (struct flight *flight; (send->failures == 0 || send->flying == 0) && (flight = due(send, now)) != NULL;)
        fly(send, flight);
    if (send->flying > 0) {
        options->exporter->drive(send->exporter, DRIVE_MS);
    } else if (options->pause != NULL) {
        options->pause(options->self, PAUSE_NS);
    } else {
        nanosleep(&(struct timespec){.tv_nsec = PAUSE_NS}, NULL);
    }
    if (options->turn != NULL) options->turn(options->self);
    if (*options->stop != 0 || now_of(send) - send->progress_ns > options->patience_ns) send->over = true;
}

bool weir_send_batch(struct weir_send *send, struct weir_batch *batch, uint64_t mark) {
    uint32_t most = send->options.config->max_in_flight;
    if (most == 0 || most > IN_FLIGHT_MAX) most = IN_FLIGHT_MAX;
    uint64_t now = now_of(send);
    if (send->used == 0 && send->next_ns <= now) send->progress_ns = now; /* nobody was asked: nobody failed */
    while (!send->over && (send->used >= most || send->failures > 0 || now_of(send) < send->next_ns)) {
        if (send->used == 0) send->progress_ns = now_of(send); /* only the rate holds it */
        turn(send);
    }
    if (send->over) {
        send->counts.left += batch->span_count;
        send->options.settled(send->options.self, mark, 0, 0, batch->span_count);
        return false;
    }
    if (send->options.spans_per_second > 0) {
        now = now_of(send);
        if (send->next_ns < now) send->next_ns = now;
        send->next_ns += (uint64_t)((double)batch->span_count * (double)WEIR_S / send->options.spans_per_second);
    }
    int i = 0;
    while (send->flights[i].state != FREE)
        i++;
    send->flights[i] = (struct flight){.ticket = {.settle = settle},
                                       .send = send,
                                       .batch = weir_batch_ref(batch),
                                       .mark = mark,
                                       .sequence = send->sequence++};
    send->used++;
    fly(send, &send->flights[i]);
    if (send->flying > 0) send->options.exporter->drive(send->exporter, 0);
    return true;
}

void weir_send_finish(struct weir_send *send) {
    while (!send->over && send->used > 0)
        turn(send);
    send->over = true;
    send->options.exporter->close(send->exporter); /* settles what is in flight as RETRY */
    send->exporter = NULL;
    for (int i = 0; i < IN_FLIGHT_MAX; i++) {
        struct flight *flight = &send->flights[i];
        if (flight->state == FREE) continue;
        uint32_t spans = flight->batch->span_count, settled = flight->ticket.settled_spans;
        if (settled > spans) settled = spans;
        uint32_t rejected = flight->ticket.rejected_spans < settled ? flight->ticket.rejected_spans : settled;
        land(flight, settled - rejected, rejected, spans - settled);
    }
}

const struct weir_send_counts *weir_send_counts(const struct weir_send *send) {
    return &send->counts;
}

enum weir_status weir_send_open(struct weir_send **send, const struct weir_send_options *options,
                                struct weir_error *err) {
    struct weir_send *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    made->options = *options;
    enum weir_status status = WEIR_OK;
    if (options->exporter->check != NULL) status = options->exporter->check(options->config, err);
    if (status == WEIR_OK) status = options->exporter->open(&made->exporter, options->config, &options->env, err);
    if (status != WEIR_OK) {
        free(made);
        return status;
    }
    made->progress_ns = now_of(made);
    *send = made;
    return WEIR_OK;
}

void weir_send_close(struct weir_send *send) {
    if (send == NULL) return;
    if (send->exporter != NULL) weir_send_finish(send);
    free(send);
}
