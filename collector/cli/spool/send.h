/* send.h - batches through one exporter, without a queue: in order, several under way, sent again when the back
 * end asks for it, at a rate. One thread. */
#ifndef WEIR_CLI_SPOOL_SEND_H
#define WEIR_CLI_SPOOL_SEND_H
#include "exporters/exporter.h"

#include <signal.h>

struct weir_send;

struct weir_send_options {
    const struct weir_exporter *exporter;
    const struct weir_exporter_config *config;
    struct weir_exporter_env env;
    double spans_per_second; /* 0: as fast as it goes */
    uint64_t patience_ns;    /* nothing gets through for so long: stop */
    void *self;
    /* A batch was settled for good: how much of it got through. Once each, in no order. */
    void (*settled)(void *self, uint64_t mark, uint32_t delivered, uint32_t rejected, uint32_t left);
    void (*turn)(void *self);               /* now and then, for a progress bar; NULL = none */
    void (*pause)(void *self, uint64_t ns); /* while nothing is under way; NULL: nanosleep(2) */
    volatile sig_atomic_t *stop;
};

struct weir_send_counts {
    uint64_t delivered, rejected, left;
    char rejected_why[160], left_why[160]; /* the last ones */
    bool failing;                          /* the last answer was none */
};

/* WEIR_INVALID, WEIR_IO: the exporter said no. */
enum weir_status weir_send_open(struct weir_send **send, const struct weir_send_options *options,
                                struct weir_error *err);
/* Takes a reference of its own. Waits until there is room and the rate allows it. False: it is over (no answer for
 * patience_ns, or *stop); the batch counts as left. */
bool weir_send_batch(struct weir_send *send, struct weir_batch *batch, uint64_t mark);
/* Waits until all is settled; what does not get through is left. */
void weir_send_finish(struct weir_send *send);
const struct weir_send_counts *weir_send_counts(const struct weir_send *send);
void weir_send_close(struct weir_send *send); /* after finish; accepts NULL */
#endif
