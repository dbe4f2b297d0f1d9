/* loop.h - one epoll loop, one thread: descriptors, timers, letters, and a last step in each round.
 * All calls but weir_loop_stop() and posting to the mailbox are for the loop's own thread. */
#ifndef WEIR_CORE_LOOP_H
#define WEIR_CORE_LOOP_H
#include "collector/core/clock.h"
#include "collector/core/error.h"
#include "collector/core/mailbox.h"

#include <stdbool.h>
#include <stdint.h>

struct weir_loop;

/* Embedded in what waits for a descriptor. `ready` may unwatch and free this watch or any other. events: EPOLLIN, ...
 */
struct weir_watch {
    int fd;
    void (*ready)(struct weir_watch *watch, uint32_t events);
};

/* Embedded in what waits for a time. Fires once; `fire` may set it again. Zeroed = not set. */
struct weir_timer {
    uint64_t due_ns; /* monotonic */
    uint32_t place;  /* 1 + index in the loop's heap; 0 = not set */
    void (*fire)(struct weir_timer *timer);
};

struct weir_loop *weir_loop_new(const struct weir_clock *clock, struct weir_error *err);
enum weir_status weir_loop_watch(struct weir_loop *loop, struct weir_watch *watch, uint32_t events,
                                 struct weir_error *err);
void weir_loop_rewatch(struct weir_loop *loop, struct weir_watch *watch,
                       uint32_t events);                                  /* other events, same descriptor */
void weir_loop_unwatch(struct weir_loop *loop, struct weir_watch *watch); /* before close(fd) */
void weir_loop_set(struct weir_loop *loop, struct weir_timer *timer, uint64_t due_ns); /* sets or moves */
void weir_loop_unset(struct weir_loop *loop, struct weir_timer *timer);                /* also when not set */
/* Called once a round, after descriptors, timers and letters, before the loop sleeps; may post letters to itself. */
void weir_loop_each_round(struct weir_loop *loop, void (*round)(void *self), void *self);
uint64_t weir_loop_now(const struct weir_loop *loop); /* monotonic, read once a round */
struct weir_mailbox *weir_loop_mailbox(struct weir_loop *loop);
uint64_t weir_loop_busy_ns(const struct weir_loop *loop); /* time not spent sleeping; any thread */
void weir_loop_run(struct weir_loop *loop);               /* until stopped; reads its letters a last time */
void weir_loop_stop(struct weir_loop *loop);              /* any thread */
void weir_loop_free(struct weir_loop *loop);              /* accepts NULL */
#endif
