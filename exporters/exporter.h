/* exporter.h - what ends a batch. send() borrows it until it settles the ticket, exactly once, now or later. The queue
 * in front (collector/spool/queue.h) does retry, expiry and drop counting for all of them, on one thread an exporter:
 * every call below is made on that thread. */
#ifndef WEIR_EXPORTERS_EXPORTER_H
#define WEIR_EXPORTERS_EXPORTER_H
#include "collector/config/config.h"
#include "collector/core/batch.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"

enum weir_settlement {
    WEIR_DELIVERED, /* the back end has it */
    WEIR_RETRY,     /* the same batch again later; retry_after_ns when the back end said */
    WEIR_REJECTED,  /* the back end will never take it */
};

struct weir_ticket {
    void (*settle)(struct weir_ticket *ticket, enum weir_settlement how, uint64_t retry_after_ns, const char *why);
    /* The exporter's own notes; both are 0 at first and kept from one try of the batch to the next.
     * settled_spans: so many spans, the first in its own order of them, need not be sent again when the batch is (RETRY
     * with a part delivered). rejected_spans: those of them that the back end refused for good. Set before settling. */
    uint32_t settled_spans;
    uint32_t rejected_spans;
    /* Which spans those are, where they are not the first in an order: the exporter's, made by malloc(), NULL at first.
     * The queue frees it with the batch. */
    void *notes;
};

struct weir_exporter_env {
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
};

struct weir_exporter {
    const char *type; /* the key under exporters:, before the slash */
    /* What of the configuration only this exporter can judge; connects to nothing. NULL: nothing. */
    enum weir_status (*check)(const struct weir_exporter_config *config, struct weir_error *err);
    /* Validates and allocates; on failure *self stays NULL and err says why. Connects to nothing that may be away. */
    enum weir_status (*open)(void **self, const struct weir_exporter_config *config,
                             const struct weir_exporter_env *env, struct weir_error *err);
    /* Never blocks on the network; may settle before it returns. The batch is read-only and stays until the ticket is
     * settled. */
    void (*send)(void *self, const struct weir_batch *batch, struct weir_ticket *ticket);
    /* Moves what is in flight, for at most timeout_ms; returns early when something was settled or wake() was called.
     */
    void (*drive)(void *self, int timeout_ms);
    void (*wake)(void *self); /* any thread: makes drive() return */
    /* Gives back what is in flight (settles every ticket: RETRY when the outcome is unknown), flushes, frees. Accepts
     * NULL. */
    void (*close)(void *self);
};

extern const struct weir_exporter weir_export_file;
extern const struct weir_exporter weir_export_zipkin;
extern const struct weir_exporter weir_export_kafka;
extern const struct weir_exporter weir_export_otlp;
/* By type, from exporters/registry.c; NULL = unknown. */
const struct weir_exporter *weir_exporter_find(const char *type);
#endif
