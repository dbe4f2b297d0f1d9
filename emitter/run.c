/* run.c - the emitter's one thread: every interval what threads left goes out, now and then Weir is asked what to
 * sample, and what it answers is heard at once. */
#define _GNU_SOURCE 1
#include "emitter/inside.h"
#include "emitter/wire.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    HEARD_AT_ONCE = 64,
    LOOK_MS = 100,
    LOOKS = 5, /* in flush_ms, where that is long */
    INTERVAL_PARTS = 32,
    OWN_EVERY_NS = 1000000000,
    CLOSED_PAUSE_NS = 100000000,
    DATAGRAM_ASK = 10,
    ASK_NONCE = 1,
    ASK_NAMES = 2
};

static uint64_t monotonic_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * UINT64_C(1000000000) + (uint64_t)now.tv_nsec;
}

static void count(struct weir_emit *emit, uint32_t cell, uint64_t n) {
    cell_add(&emit->slots[0], cell, n);
}

/* ---- policy ---- */

static bool all_told(const struct weir_emit *emit, uint32_t operations) {
    for (uint32_t i = 1; i < operations; i++) {
        if (emit->operations[i].told != emit->policy.version) return false;
    }
    return true;
}

/* The next operation of which something else than the last that was heard is in force, or nothing. */
static uint32_t next_untold(const struct weir_emit *emit, uint32_t from, uint32_t operations) {
    while (emit->policy.heard != 0 && from < operations && emit->operations[from].told == emit->policy.heard)
        from++;
    return from;
}

/* Names from operation `first` on, as many as the ask holds and as can be answered in as many bytes. Returns the end.
 */
static uint8_t *put_names(const struct weir_emit *emit, uint8_t *at, const uint8_t *limit, uint32_t first,
                          uint32_t operations, uint32_t *count_out) {
    uint32_t most = emit->answer_count_max, n = 0;
    for (; first + n < operations && n < most; n++) {
        const struct operation *operation = &emit->operations[first + n];
        if (operation->name_size > (size_t)(limit - at)) break;
        at = put_bytes(at, operation->name, operation->name_size);
        at[-(ptrdiff_t)operation->name_size] = ASK_NAMES << 3 | WIRE_BYTES; /* was Span.name; lengths are alike */
    }
    *count_out = n;
    return at;
}

static bool ask_some(struct weir_emit *emit, uint64_t version, uint32_t first, uint32_t operations, uint32_t *asked) {
    size_t room = pack_room_max(emit->options.datagram_bytes, emit->resource_size);
    uint8_t *body = emit->ask_bytes + 4, *at = body;
    uint64_t nonce = 0;
    while (nonce == 0)
        random_bytes(&nonce, sizeof nonce);
    at = put_fixed64(at, ASK_NONCE, nonce);
    at = put_names(emit, at, emit->ask_bytes + room, first, operations, asked);
    if (!policy_asked(&emit->policy, nonce, version, first, *asked)) return false;
    size_t size = (size_t)(at - body), head = 1 + varint_size(size); /* up to 65,507 bytes: not put_length() */
    put_varint(put_key(body - head, DATAGRAM_ASK, WIRE_BYTES), size);
    pack_ask(&emit->packer, version, body - head, size + head);
    count(emit, CELL_ASKS, 1);
    return true;
}

/* Where not all operations have what the version says that is followed, since some are new or an answer was lost, the
 * others are asked for, and under no version, so that they are answered whatever is in force. */
static void ask_all(struct weir_emit *emit) {
    uint32_t operations = atomic_load_explicit(&emit->operation_count, memory_order_acquire), asked;
    bool all = all_told(emit, operations);
    uint64_t version = all ? emit->policy.version : 0;
    uint32_t first = 1; /* the first is "other": what is said of operations without a name holds for it */
    policy_round(&emit->policy);
    do {
        if (!all) first = next_untold(emit, first, operations);
        if (!ask_some(emit, version, first, operations, &asked)) break;
        first += asked;
    } while (asked > 0 && first < operations);
    pack_flush(&emit->packer);
}

static void follow(struct weir_emit *emit, const struct policy_news *news) {
    uint32_t operations = atomic_load_explicit(&emit->operation_count, memory_order_acquire);
    for (uint32_t i = 0; i < news->count && news->first + i < operations; i++) {
        struct operation *operation = &emit->operations[news->first + i];
        __atomic_store_n(&operation->open.threshold, news->thresholds[i], __ATOMIC_RELAXED);
        operation->told = news->version;
    }
    for (uint32_t i = 0; i < operations; i++) {
        struct operation *operation = &emit->operations[i];
        if (operation->told == 0)
            __atomic_store_n(&operation->open.threshold, emit->policy.threshold, __ATOMIC_RELAXED);
    }
    emit->packer.policy_version = emit->policy.version;
    atomic_store_explicit(&emit->policy_version, emit->policy.version, memory_order_relaxed);
}

static void hear(struct weir_emit *emit) {
    for (unsigned i = 0; i < HEARD_AT_ONCE; i++) {
        struct policy_news news;
        ssize_t size = recv(emit->fd, emit->answer_bytes, emit->options.datagram_bytes, MSG_TRUNC | MSG_DONTWAIT);
        if (size < 0 && errno == ECONNREFUSED) {
            count(emit, CELL_UNSENT_REFUSED, 1);
            continue;
        }
        if (size < 0) return;
        enum policy_verdict verdict =
            policy_hear(&emit->policy, emit->answer_bytes, (size_t)size, emit->options.datagram_bytes, &news);
        if (verdict == POLICY_TAKEN) follow(emit, &news);
        count(emit, CELL_VERDICTS + (uint32_t)verdict, 1); /* who sees it counted finds it followed */
    }
}

/* ---- the loop ---- */

/* Between three and five quarters: emitters that began together do not ask together for long. */
static uint64_t poll_interval(struct weir_emit *emit) {
    uint64_t ms = emit->options.poll_ms, jitter;
    random_bytes(&jitter, sizeof jitter);
    return ms * NS_PER_MS * 3 / 4 + jitter % (ms * NS_PER_MS / 2);
}

/* How often rings are looked at, at least: what is little waits for several looks, since a send costs many times more
 * than one. */
static uint64_t look_interval(const struct weir_emit *emit) {
    uint32_t ms = emit->options.flush_ms, part = ms / LOOKS;
    return (ms <= LOOK_MS ? ms : part > LOOK_MS ? part : LOOK_MS) * NS_PER_MS;
}

/* A ring that was a quarter full is looked at sooner from now on. */
static void adapt(struct weir_emit *emit, unsigned fullest) {
    uint64_t most = look_interval(emit), least = most / INTERVAL_PARTS;
    if (fullest >= 4) emit->interval_ns /= 2;
    if (fullest == 0) emit->interval_ns *= 2;
    if (emit->interval_ns < least) emit->interval_ns = least;
    if (emit->interval_ns > most) emit->interval_ns = most;
}

struct round {
    uint64_t look_at, flush_at, own_at, ask_at;
};

static void flush(struct weir_emit *emit, struct round *round, uint64_t now, bool own_too) {
    own_too = own_too || now >= round->own_at;
    fold_all(emit, own_too);
    if (own_too) round->own_at = now + OWN_EVERY_NS;
    round->flush_at = now + emit->options.flush_ms * NS_PER_MS;
}

/* Less than a sixteenth of a ring may wait for as long as anything may. */
static void look(struct weir_emit *emit, struct round *round, uint64_t now, bool wanted) {
    unsigned fullest = fullest_ring(emit);
    adapt(emit, fullest);
    round->look_at = now + emit->interval_ns;
    if (wanted || fullest > 0 || now >= round->flush_at) flush(emit, round, now, wanted);
    if (round->look_at > round->flush_at) round->look_at = round->flush_at;
}

static void wait_for(struct weir_emit *emit, const struct round *round) {
    uint64_t now = monotonic_ns(), until = round->ask_at < round->look_at ? round->ask_at : round->look_at, left;
    left = until > now ? until - now : 0;
    const struct timespec time = {.tv_sec = (time_t)(left / 1000000000), .tv_nsec = (long)(left % 1000000000)};
    struct pollfd fds[2] = {{.fd = emit->fd, .events = POLLIN}, {.fd = emit->wake_fd, .events = POLLIN}};
    ppoll(fds, 2, &time, NULL);
    uint64_t wakes;
    if (((fds[0].revents | fds[1].revents) & POLLNVAL) != 0) { /* somebody closed them: nothing leaves any more */
        nanosleep(&(struct timespec){.tv_nsec = CLOSED_PAUSE_NS}, NULL);
        return;
    }
    if ((fds[1].revents & POLLIN) != 0 && read(emit->wake_fd, &wakes, sizeof wakes) < 0) return; /* EAGAIN: no matter */
    if (fds[0].revents != 0) hear(emit);
}

/* Waiters are told that what they handed over before is sent. */
static bool tell_flushed(struct weir_emit *emit, uint64_t wanted) {
    pthread_mutex_lock(&emit->lock);
    emit->flush_done = wanted;
    bool stopping = emit->stopping;
    pthread_cond_broadcast(&emit->flushed);
    pthread_mutex_unlock(&emit->lock);
    return stopping;
}

static uint64_t flush_wanted(struct weir_emit *emit, bool *stopping) {
    pthread_mutex_lock(&emit->lock);
    uint64_t wanted = emit->flush_wanted;
    *stopping = emit->stopping;
    pthread_mutex_unlock(&emit->lock);
    return wanted;
}

static void *run(void *self) {
    struct weir_emit *emit = self;
    uint64_t now = monotonic_ns(), done = 0;
    bool asks = emit->options.poll_ms != 0, stopping = false;
    emit->interval_ns = look_interval(emit);
    /* Operations are registered just after the emitter is opened: the first ask waits for them. */
    struct round round = {.look_at = now + emit->interval_ns,
                          .flush_at = now + emit->options.flush_ms * NS_PER_MS,
                          .own_at = now,
                          .ask_at = asks ? now + emit->interval_ns : UINT64_MAX};
    while (!stopping) {
        wait_for(emit, &round);
        now = monotonic_ns();
        uint64_t wanted = flush_wanted(emit, &stopping);
        bool wanted_now = wanted != done || stopping;
        if (asks && now >= round.ask_at) {
            ask_all(emit);
            round.ask_at = now + poll_interval(emit);
        }
        if (wanted_now || now >= round.look_at) look(emit, &round, now, wanted_now);
        if (wanted != done) tell_flushed(emit, done = wanted);
    }
    return NULL;
}

static void wake(const struct weir_emit *emit) {
    const uint64_t one = 1;
    if (emit->wake_fd >= 0 && write(emit->wake_fd, &one, sizeof one) < 0) return; /* full: it is awake */
}

void run_prepare(struct weir_emit *emit) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&emit->flushed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

bool run_start(struct weir_emit *emit) {
    sigset_t all, before;
    if (!send_open(emit)) return false;
    random_bytes(&emit->packer.sender, sizeof emit->packer.sender);
    emit->packer.start_ns = weir_emit_now();
    emit->packer.sequence = 0;
    sigfillset(&all); /* the process's signals are for its own threads */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int failed = pthread_create(&emit->thread, NULL, run, emit);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (failed != 0) {
        send_close(emit);
        errno = failed;
        return false;
    }
    pthread_setname_np(emit->thread, "weir_emit");
    atomic_store(&emit->running, true);
    return true;
}

void run_stop(struct weir_emit *emit) {
    if (!atomic_load(&emit->running)) return;
    pthread_mutex_lock(&emit->lock);
    emit->stopping = true;
    pthread_mutex_unlock(&emit->lock);
    wake(emit);
    pthread_join(emit->thread, NULL);
    atomic_store(&emit->running, false);
    send_close(emit);
}

/* Places are nobody's, and their random numbers others than the parent's and than those of other children, also of
 * places that nobody has used yet. */
static void empty_places(struct weir_emit *emit) {
    uint64_t fresh[2];
    random_bytes(fresh, sizeof fresh);
    for (uint32_t i = 0; i < emit->slot_count; i++) {
        struct slot *slot = &emit->slots[i];
        slot->random[0] = mix64(slot->random[0] ^ fresh[0]);
        slot->random[1] = mix64(slot->random[1] ^ fresh[1]);
        atomic_store(&slot->taken, 0);
        if (!atomic_load(&slot->used)) continue;
        memset((void *)slot->cells, 0, emit->options.cells_max * sizeof *slot->cells);
        slot->ring.next = slot->ring.tail_seen = 0;
        atomic_store(&slot->ring.head, 0);
        atomic_store(&slot->ring.tail, 0);
    }
}

/* Only what is the parent's is let go; a thread and a socket come with the first call that finds no place. The parent's
 * thread may have been in the middle of following an answer: what holds is asked for anew. */
void run_orphan(struct weir_emit *emit) {
    bool was_running = atomic_exchange(&emit->running, false);
    send_close(emit);
    empty_places(emit);
    memset(emit->sent, 0, emit->options.cells_max * sizeof *emit->sent);
    policy_round(&emit->policy);
    emit->policy.version = emit->policy.heard = 0;
    emit->packer.count = 0;
    emit->packer.used = 0;
    emit->flush_done = emit->flush_wanted;
    run_prepare(emit); /* nobody waits here, whoever waited there */
    if (was_running || atomic_load(&emit->orphan)) {
        atomic_store(&emit->orphan, true);
        count(emit, CELL_RESTARTS, 1);
    }
}

void run_adopt(struct weir_emit *emit) {
    if (!atomic_load_explicit(&emit->orphan, memory_order_relaxed)) return;
    pthread_mutex_lock(&emit->lock);
    if (atomic_load(&emit->orphan)) atomic_store(&emit->orphan, !run_start(emit));
    pthread_mutex_unlock(&emit->lock);
}

bool weir_emit_flush(struct weir_emit *emit, uint32_t timeout_ms) {
    if (emit->disabled) return false;
    run_adopt(emit);
    if (!atomic_load(&emit->running)) return false;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t ns = (uint64_t)until.tv_nsec + timeout_ms * NS_PER_MS;
    until.tv_sec += (time_t)(ns / 1000000000);
    until.tv_nsec = (long)(ns % 1000000000);
    pthread_mutex_lock(&emit->lock);
    uint64_t mine = ++emit->flush_wanted;
    wake(emit);
    int waited = 0;
    while (emit->flush_done < mine && waited == 0)
        waited = pthread_cond_timedwait(&emit->flushed, &emit->lock, &until);
    bool done = emit->flush_done >= mine;
    pthread_mutex_unlock(&emit->lock);
    return done;
}

void weir_emit_stats(struct weir_emit *emit, struct weir_emit_stats *stats, size_t size) {
    struct weir_emit_stats now = {.size = size};
    if (!emit->disabled) {
        now.policy_version = atomic_load_explicit(&emit->policy_version, memory_order_relaxed);
        now.spans = cell_sum(emit, CELL_SPANS);
        now.dropped_full = cell_sum(emit, CELL_FULL);
        now.dropped_large = cell_sum(emit, CELL_LARGE);
        now.dropped_threads = cell_sum(emit, CELL_THREADS);
        now.datagrams = cell_sum(emit, CELL_DATAGRAMS);
        now.unsent = cell_sum(emit, CELL_UNSENT_FULL) + cell_sum(emit, CELL_UNSENT_FAILED);
        now.asks = cell_sum(emit, CELL_ASKS);
        now.answers = cell_sum(emit, CELL_VERDICTS + POLICY_TAKEN);
        for (uint32_t i = POLICY_TAKEN + 1; i < POLICY_VERDICTS; i++)
            now.answers_refused += cell_sum(emit, CELL_VERDICTS + i);
        now.restarts = cell_sum(emit, CELL_RESTARTS);
    }
    memcpy(stats, &now, size < sizeof now ? size : sizeof now);
}
