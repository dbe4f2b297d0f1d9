/* inside.h - what the files of the library share. Who may touch what stands next to it:
 *   open      written by weir_emit_open(), or in the child of a fork while it has one thread; read by all
 *   own       the thread that has the place; others read cells
 *   emitter   the emitter's thread
 *   lock      any thread that holds emit->lock */
#ifndef WEIR_EMITTER_INSIDE_H
#define WEIR_EMITTER_INSIDE_H
#include "emitter/pack.h"
#include "emitter/policy.h"
#include "emitter/ring.h"
#include "emitter/signing.h"
#include "emitter/weir_emit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/socket.h>

#pragma GCC visibility push(hidden)

enum {
    EMITTERS_MAX = 8,
    ATTRIBUTES_MAX = 64,
    LABELS_MAX = 8,
    BOUNDS_MAX = 64, /* whole blocks of eight */
    NAME_BYTES_MAX = 255,
    METRIC_BYTES_MAX = 200,
};
#define NS_PER_MS UINT64_C(1000000)

/* Cells that the library counts into itself; those of operations and so on follow. The emitter's thread uses those of
 * the common place. */
enum cell {
    CELL_SPANS = 1, /* 0: none */
    CELL_FULL,
    CELL_LARGE,
    CELL_THREADS,
    CELL_INVALID,
    CELL_CUT,
    CELL_SENSELESS,
    CELL_DATAGRAMS,
    CELL_UNSENT_REFUSED,
    CELL_UNSENT_FULL,
    CELL_UNSENT_FAILED,
    CELL_ASKS,
    CELL_VERDICTS,
    CELL_RESTARTS = CELL_VERDICTS + POLICY_VERDICTS,
    CELLS_OWN
};

/* A thread's place: its ring and cells. Given back when the thread ends, and used by the next one as it is: cells only
 * grow, the ring goes on where it was. The first place is common to threads that found none: no ring, cells by atomic
 * addition. */
struct slot {
    struct ring ring;
    alignas(RING_LINE) _Atomic uint32_t taken;
    _Atomic bool used; /* ever */
    bool common;
    uint64_t random[2];      /* of the thread, not all 0; of the common place a key */
    _Atomic uint64_t drawn;  /* of the common place */
    _Atomic uint64_t *cells; /* own */
};

/* A number that threads count to. What finds the thread's place is in it too: it is one line of the cache less that a
 * call has to wait for. */
struct handle {
    struct weir_emit *emit;
    uint64_t run; /* emit->id */
    uint32_t index, cell;
};

struct operation {
    struct weir_emit_operation open; /* first; written by the emitter's thread */
    struct handle handle;
    uint32_t name_size;
    const uint8_t *name; /* as OTLP's Span.name, key and length too */
    uint64_t told;       /* the version that Weir has said something of it by; 0: nothing yet; emitter */
};

struct weir_emit_counter {
    struct handle handle;
};

struct weir_emit_histogram {
    alignas(RING_LINE) struct handle handle; /* the sum's bits; then counts, one more than bounds */
    uint32_t bound_count;
    uint32_t blocks;           /* of eight bounds, that are looked at */
    double bounds[BOUNDS_MAX]; /* infinite behind the last */
};

/* What cells are on the wire: name and labels of a Counter, and a Histogram's bounds too, fields and all. */
struct entry {
    uint8_t *head;
    uint32_t head_size, cell;
    uint32_t counts;                       /* of a histogram: bounds + 1; 0: a counter */
    struct weir_emit_counter counter;      /* */
    struct weir_emit_histogram *histogram; /* NULL: a counter */
};

struct weir_emit {
    /* open */
    uint64_t id; /* of this run of this emitter: places of another one are nobody's */
    uint32_t index, slot_count;
    struct slot *slots; /* slots[0] is the common one */
    size_t span_bytes_max, reserve_max;
    uint32_t text_bytes_max;
    bool disabled, is_signed;
    struct weir_emit_options options; /* numbers only; what it points to is the caller's */
    struct sockaddr_storage to;
    socklen_t to_size;
    uint8_t *resource, *memory;
    size_t resource_size, memory_size;
    char *service;
    struct signing signing;

    /* lock */
    pthread_mutex_t lock;
    pthread_cond_t flushed;
    uint64_t flush_wanted, flush_done;
    bool stopping;
    uint32_t cell_count;

    /* written under lock, published by the counts */
    struct operation *operations; /* the first is "other" */
    struct entry *entries;
    _Atomic uint32_t operation_count, entry_count;

    /* emitter */
    pthread_t thread;
    _Atomic bool running; /* the thread, in this process */
    _Atomic bool orphan;  /* a child of fork has none yet */
    int fd, wake_fd;
    struct packer packer;
    struct policy policy;
    _Atomic uint64_t policy_version;
    uint64_t *sent; /* of each cell: the sum that was sent */
    uint64_t interval_ns;
    uint8_t *ask_bytes, *answer_bytes; /* datagram_bytes each */
    uint32_t answer_count_max;         /* thresholds that an answer of datagram_bytes has room for */
    unsigned waits;                    /* for the socket's buffer, in the flush that is under way */
    bool segments;                     /* the system takes UDP_SEGMENT */
    bool connected;                    /* the socket; false: there was no route yet */
};

/* ---- places (thread.c) ---- */

struct place {
    uint64_t id;
    struct slot *slot;
    _Atomic uint64_t *cells; /* slot's; NULL: it is the common one */
};
/* Initial-exec: one load, where a library that is loaded late would call for each. It is 192 bytes of what the C
 * library keeps for such. */
extern _Thread_local __attribute__((tls_model("initial-exec"))) struct place weir_emit_places[EMITTERS_MAX];

struct place *place_find(struct weir_emit *emit);                          /* NULL: disabled */
struct slot *slot_retry(struct weir_emit *emit, struct slot *common_slot); /* has another thread ended? */
bool emitters_enter(struct weir_emit *emit);                               /* false: there are as many as can be */
void emitters_leave(struct weir_emit *emit);
uint64_t common_random(struct slot *common_slot);

static inline struct place *place_of(const struct handle *handle) {
    struct place *place = &weir_emit_places[handle->index];
    return __builtin_expect(place->id == handle->run, 1) ? place : place_find(handle->emit);
}
static inline struct slot *slot_of(struct weir_emit *emit) {
    struct place *place = &weir_emit_places[emit->index];
    if (__builtin_expect(place->id != emit->id, 0)) place = place_find(emit);
    return place != NULL ? place->slot : NULL;
}

static inline void cell_raise(_Atomic uint64_t *cell, uint64_t n) {
    uint64_t now = atomic_load_explicit(cell, memory_order_relaxed);
    atomic_store_explicit(cell, now + n, memory_order_relaxed);
}
static inline void cell_add(struct slot *slot, uint32_t index, uint64_t n) {
    if (__builtin_expect(slot->common, 0)) {
        atomic_fetch_add_explicit(&slot->cells[index], n, memory_order_relaxed);
    } else {
        cell_raise(&slot->cells[index], n);
    }
}
static inline void place_add(const struct place *place, uint32_t index, uint64_t n) {
    if (__builtin_expect(place->cells == NULL, 0)) {
        cell_add(place->slot, index, n);
    } else {
        cell_raise(&place->cells[index], n);
    }
}

static inline uint64_t mix64(uint64_t x) { /* the finalizer of SplitMix64 (Steele and others, OOPSLA 2014) */
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

static inline uint64_t rotated(uint64_t x, unsigned bits) {
    return x << bits | x >> (64 - bits);
}

/* xoroshiro128++ (Blackman and Vigna, "Scrambled Linear Pseudorandom Number Generators", ACM TOMS 47, 2021), begun
 * with 128 bits of the system's: places and processes do not run into each other. Of the common place: numbers of a
 * counter, mixed with a key. Never 0. */
static inline uint64_t slot_random(struct slot *slot) {
    if (__builtin_expect(slot->common, 0)) return common_random(slot);
    uint64_t a = slot->random[0], b = slot->random[1], random = rotated(a + b, 17) + a;
    b ^= a;
    slot->random[0] = rotated(a, 49) ^ b ^ b << 21;
    slot->random[1] = rotated(b, 28);
    return random != 0 ? random : 1;
}

/* ---- the emitter's thread (run.c, fold.c, send.c) ---- */

void run_prepare(struct weir_emit *emit); /* what waiters for a flush wait at */
bool run_start(struct weir_emit *emit);   /* socket, thread; errno says why not. Nobody else starts it meanwhile */
void run_stop(struct weir_emit *emit);    /* sends what is left, joins */
void run_orphan(struct weir_emit *emit);  /* in the child of a fork: nothing of the parent's is sent again */
/* In such a child: its thread is started, where none is. What the system has not got now is tried again by the next. */
void run_adopt(struct weir_emit *emit);
/* Rings and cells into datagrams, and those to Weir; own_too: also what the library counts of itself. */
void fold_all(struct weir_emit *emit, bool own_too);
unsigned fullest_ring(struct weir_emit *emit);                  /* in sixteenths */
uint64_t cell_sum(const struct weir_emit *emit, uint32_t cell); /* any thread */
bool send_open(struct weir_emit *emit);
void send_close(struct weir_emit *emit);
void send_datagrams(void *self, const struct packer *packer);
void random_bytes(void *bytes, size_t size); /* of the system */

/* ---- registering (register.c) ---- */

bool register_own(struct weir_emit *emit);     /* what the library counts, and the operation "other" */
void register_entered(struct weir_emit *emit); /* id and index are known now: for handles that were made before */

#pragma GCC visibility pop
#endif
