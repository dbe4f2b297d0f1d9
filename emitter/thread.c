/* thread.c - places of threads: found by the first call of a thread, given back when it ends; and what fork does. */
#include "emitter/inside.h"

_Thread_local __attribute__((tls_model("initial-exec"))) struct place weir_emit_places[EMITTERS_MAX];

/* Guards the table, and is held when a place is given back. Never taken by a call that is hot. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct weir_emit *table[EMITTERS_MAX];
static uint64_t ids; /* one more for each run of an emitter */
static pthread_key_t at_exit;
static bool prepared, prepare_failed;

/* ---- threads ---- */

static struct slot *claim(struct weir_emit *emit) {
    for (uint32_t i = 1; i < emit->slot_count; i++) {
        struct slot *slot = &emit->slots[i];
        uint32_t free_one = 0;
        if (atomic_load_explicit(&slot->taken, memory_order_relaxed) != 0) continue;
        if (!atomic_compare_exchange_strong_explicit(&slot->taken, &free_one, 1, memory_order_acquire,
                                                     memory_order_relaxed))
            continue;
        atomic_store_explicit(&slot->used, true, memory_order_release);
        return slot;
    }
    return NULL;
}

static struct place *settle(struct weir_emit *emit, struct slot *slot) {
    struct place *place = &weir_emit_places[emit->index];
    *place = (struct place){.id = emit->id, .slot = slot, .cells = slot->common ? NULL : slot->cells};
    return place;
}

/* A key's value makes its destructor run; without it the place would never be given back, so then the thread has the
 * common one. glibc and musl keep the first keys of a process in the thread itself: no memory is asked for. */
__attribute__((noinline, cold)) struct place *place_find(struct weir_emit *emit) {
    if (emit->disabled) return NULL;
    run_adopt(emit);
    if (pthread_setspecific(at_exit, weir_emit_places) != 0) return settle(emit, &emit->slots[0]);
    struct slot *slot = claim(emit);
    return settle(emit, slot != NULL ? slot : &emit->slots[0]);
}

__attribute__((noinline, cold)) struct slot *slot_retry(struct weir_emit *emit, struct slot *common_slot) {
    if (pthread_getspecific(at_exit) == NULL) return common_slot;
    struct slot *slot = claim(emit);
    return slot != NULL ? settle(emit, slot)->slot : common_slot;
}

static void thread_ends(void *value) {
    struct place *places = value;
    pthread_mutex_lock(&table_lock);
    for (uint32_t i = 0; i < EMITTERS_MAX; i++) {
        bool lives = places[i].id != 0 && table[i] != NULL && table[i]->id == places[i].id;
        if (lives && !places[i].slot->common) atomic_store_explicit(&places[i].slot->taken, 0, memory_order_release);
        places[i] = (struct place){0};
    }
    pthread_mutex_unlock(&table_lock);
}

/* ---- random numbers ---- */

__attribute__((noinline, cold)) uint64_t common_random(struct slot *common_slot) {
    uint64_t n = atomic_fetch_add_explicit(&common_slot->drawn, 1, memory_order_relaxed);
    uint64_t random = mix64(mix64(n * 0x9e3779b97f4a7c15 + common_slot->random[0]) ^ common_slot->random[1]);
    return random != 0 ? random : 1;
}

/* ---- fork ---- */

static void before_fork(void) {
    pthread_mutex_lock(&table_lock);
    for (uint32_t i = 0; i < EMITTERS_MAX; i++) {
        if (table[i] != NULL) pthread_mutex_lock(&table[i]->lock);
    }
}

static void after_fork(void) {
    for (uint32_t i = EMITTERS_MAX; i-- > 0;) {
        if (table[i] != NULL) pthread_mutex_unlock(&table[i]->lock);
    }
    pthread_mutex_unlock(&table_lock);
}

/* The thread that forked is the only one: no place is anybody's, and ids may stay as they are. */
static void child_of_fork(void) {
    for (uint32_t i = 0; i < EMITTERS_MAX; i++) {
        weir_emit_places[i] = (struct place){0};
        if (table[i] == NULL) continue;
        run_orphan(table[i]);
    }
    after_fork();
}

/* ---- emitters ---- */

bool emitters_enter(struct weir_emit *emit) {
    bool entered = false;
    pthread_mutex_lock(&table_lock);
    if (!prepared) {
        prepare_failed = pthread_key_create(&at_exit, thread_ends) != 0 ||
                         pthread_atfork(before_fork, after_fork, child_of_fork) != 0;
        prepared = true;
    }
    for (uint32_t i = 0; i < EMITTERS_MAX && !entered && !prepare_failed; i++) {
        if (table[i] != NULL) continue;
        table[i] = emit;
        emit->index = i;
        emit->id = ++ids;
        entered = true;
    }
    pthread_mutex_unlock(&table_lock);
    return entered;
}

void emitters_leave(struct weir_emit *emit) {
    pthread_mutex_lock(&table_lock);
    table[emit->index] = NULL;
    pthread_mutex_unlock(&table_lock);
}
