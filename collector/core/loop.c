#include "collector/core/loop.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { EVENTS_A_ROUND = 128 };

struct weir_loop {
    int epoll_fd;
    const struct weir_clock *clock;
    struct weir_mailbox mailbox;
    _Atomic bool stopping;
    _Atomic uint64_t busy_ns;
    uint64_t now_ns;
    struct epoll_event events[EVENTS_A_ROUND];
    int event_count, event_index; /* of the round under way: unwatch() takes its own out */
    struct weir_timer **heap;     /* binary, the earliest first */
    uint32_t timer_count, timer_capacity;
    void (*round)(void *self);
    void *round_self;
};

struct weir_loop *weir_loop_new(const struct weir_clock *clock, struct weir_error *err) {
    struct weir_loop *loop = calloc(1, sizeof *loop);
    if (loop == NULL) {
        weir_fail(err, WEIR_FULL, 0, false, "loop: out of memory");
        return NULL;
    }
    loop->clock = clock;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd < 0 || !weir_mailbox_open(&loop->mailbox)) {
        weir_fail(err, WEIR_IO, errno, false, "loop: epoll_create1 or eventfd");
        if (loop->epoll_fd >= 0) close(loop->epoll_fd);
        free(loop);
        return NULL;
    }
    struct epoll_event wake = {.events = EPOLLIN, .data.ptr = NULL}; /* NULL is the mailbox */
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, loop->mailbox.wake_fd, &wake);
    loop->now_ns = weir_mono_ns(clock);
    return loop;
}

enum weir_status weir_loop_watch(struct weir_loop *loop, struct weir_watch *watch, uint32_t events,
                                 struct weir_error *err) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) != 0) {
        return weir_fail(err, WEIR_IO, errno, false, "loop: epoll_ctl add");
    }
    return WEIR_OK;
}

void weir_loop_rewatch(struct weir_loop *loop, struct weir_watch *watch, uint32_t events) {
    struct epoll_event event = {.events = events, .data.ptr = watch};
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event);
}

void weir_loop_unwatch(struct weir_loop *loop, struct weir_watch *watch) {
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    for (int i = loop->event_index; i < loop->event_count; i++) {
        if (loop->events[i].data.ptr == watch) loop->events[i].events = 0; /* fetched, not yet delivered */
    }
}

static void place(struct weir_loop *loop, uint32_t index, struct weir_timer *timer) {
    loop->heap[index] = timer;
    timer->place = index + 1;
}

static void sift(struct weir_loop *loop, uint32_t index) {
    struct weir_timer *timer = loop->heap[index];
    while (index > 0 && loop->heap[(index - 1) / 2]->due_ns > timer->due_ns) {
        place(loop, index, loop->heap[(index - 1) / 2]);
        index = (index - 1) / 2;
    }
    for (;;) {
        uint32_t child = 2 * index + 1;
        if (child >= loop->timer_count) break;
        if (child + 1 < loop->timer_count && loop->heap[child + 1]->due_ns < loop->heap[child]->due_ns) child++;
        if (loop->heap[child]->due_ns >= timer->due_ns) break;
        place(loop, index, loop->heap[child]);
        index = child;
    }
    place(loop, index, timer);
}

void weir_loop_set(struct weir_loop *loop, struct weir_timer *timer, uint64_t due_ns) {
    timer->due_ns = due_ns;
    if (timer->place == 0) {
        if (loop->timer_count == loop->timer_capacity) {
            uint32_t capacity = loop->timer_capacity == 0 ? 16 : loop->timer_capacity * 2;
            void *grown = realloc((void *)loop->heap, capacity * sizeof *loop->heap);
            if (grown == NULL) abort(); /* 8 bytes a connection, and connections are bounded */
            loop->heap = grown;
            loop->timer_capacity = capacity;
        }
        place(loop, loop->timer_count++, timer);
    }
    sift(loop, timer->place - 1);
}

void weir_loop_unset(struct weir_loop *loop, struct weir_timer *timer) {
    if (timer->place == 0) return;
    uint32_t index = timer->place - 1;
    timer->place = 0;
    loop->timer_count--;
    if (index < loop->timer_count) {
        place(loop, index, loop->heap[loop->timer_count]);
        sift(loop, index);
    }
}

void weir_loop_each_round(struct weir_loop *loop, void (*round)(void *self), void *self) {
    loop->round = round;
    loop->round_self = self;
}

uint64_t weir_loop_now(const struct weir_loop *loop) {
    return loop->now_ns;
}

struct weir_mailbox *weir_loop_mailbox(struct weir_loop *loop) {
    return &loop->mailbox;
}

uint64_t weir_loop_busy_ns(const struct weir_loop *loop) {
    return atomic_load_explicit(&loop->busy_ns, memory_order_relaxed);
}

static int sleep_ms(const struct weir_loop *loop) {
    if (loop->timer_count == 0) return -1;
    uint64_t now = weir_mono_ns(loop->clock), due = loop->heap[0]->due_ns;
    if (due <= now) return 0;
    uint64_t ms = (due - now + WEIR_MS - 1) / WEIR_MS;
    return ms > 60000 ? 60000 : (int)ms;
}

static void deliver_events(struct weir_loop *loop) {
    for (loop->event_index = 0; loop->event_index < loop->event_count;) {
        struct epoll_event *event = &loop->events[loop->event_index++];
        if (event->events == 0) continue;
        struct weir_watch *watch = event->data.ptr;
        if (watch == NULL) {
            weir_mailbox_clear_wake(&loop->mailbox);
        } else {
            watch->ready(watch, event->events);
        }
    }
    loop->event_count = 0;
}

static void fire_timers(struct weir_loop *loop) {
    /* At most as many as were set: one that sets itself for now again waits for the next round, like everybody. */
    for (uint32_t n = loop->timer_count; n > 0 && loop->timer_count > 0 && loop->heap[0]->due_ns <= loop->now_ns; n--) {
        struct weir_timer *timer = loop->heap[0];
        weir_loop_unset(loop, timer);
        timer->fire(timer);
    }
}

static void read_all(struct weir_loop *loop) {
    while (weir_mailbox_read(&loop->mailbox) > 0) {
    }
}

void weir_loop_run(struct weir_loop *loop) {
    weir_mailbox_own(&loop->mailbox);
    uint64_t woke_ns = weir_mono_ns(loop->clock);
    for (;;) {
        loop->now_ns = weir_mono_ns(loop->clock);
        deliver_events(loop);
        fire_timers(loop);
        weir_mailbox_read(&loop->mailbox);
        if (loop->round != NULL) loop->round(loop->round_self);
        if (atomic_load_explicit(&loop->stopping, memory_order_acquire)) break;
        uint64_t sleeps_ns = weir_mono_ns(loop->clock);
        atomic_fetch_add_explicit(&loop->busy_ns, sleeps_ns - woke_ns, memory_order_relaxed);
        int timeout_ms = weir_mailbox_to_self(&loop->mailbox) ? 0 : sleep_ms(loop);
        int n = epoll_wait(loop->epoll_fd, loop->events, EVENTS_A_ROUND, timeout_ms);
        woke_ns = weir_mono_ns(loop->clock);
        loop->event_count = n > 0 ? n : 0;
    }
    read_all(loop);
}

static void nothing(struct weir_mail *mail) {
    free(mail);
}

void weir_loop_stop(struct weir_loop *loop) {
    atomic_store_explicit(&loop->stopping, true, memory_order_release);
    struct weir_mail *mail = malloc(sizeof *mail);
    if (mail == NULL) return; /* then it stops at its next round, 60 s at the latest */
    mail->deliver = nothing;
    weir_mailbox_post(&loop->mailbox, mail);
}

void weir_loop_free(struct weir_loop *loop) {
    if (loop == NULL) return;
    read_all(loop);
    weir_mailbox_close(&loop->mailbox);
    close(loop->epoll_fd);
    free((void *)loop->heap);
    free(loop);
}
