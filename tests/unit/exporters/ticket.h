/* ticket.h - a ticket that remembers how it was settled, and a batch sent by an exporter until it is. */
#ifndef WEIR_TESTS_TICKET_H
#define WEIR_TESTS_TICKET_H
#include "collector/core/clock.h"
#include "exporters/exporter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

struct ticket {
    struct weir_ticket ticket;
    int settled; /* times */
    enum weir_settlement how;
    uint64_t retry_after_ns;
    char why[600];
};

static inline void settle(struct weir_ticket *self, enum weir_settlement how, uint64_t retry_after_ns,
                          const char *why) {
    struct ticket *ticket = (struct ticket *)self;
    ticket->settled++;
    ticket->how = how;
    ticket->retry_after_ns = retry_after_ns;
    snprintf(ticket->why, sizeof ticket->why, "%s", why != NULL ? why : "");
}

static inline void ticket_await(const struct weir_exporter *kind, void *exporter, struct ticket *ticket, int settled) {
    uint64_t limit = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
    while (ticket->settled < settled && weir_mono_ns(&weir_clock_system) < limit)
        kind->drive(exporter, 1000);
    assert_int_equal(ticket->settled, settled);
}

static inline void ticket_send(const struct weir_exporter *kind, void *exporter, const struct weir_batch *batch,
                               struct ticket *ticket) {
    int before = ticket->settled;
    ticket->ticket.settle = settle;
    kind->send(exporter, batch, &ticket->ticket);
    ticket_await(kind, exporter, ticket, before + 1);
}
#endif
