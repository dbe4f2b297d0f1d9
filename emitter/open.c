/* open.c - an emitter is made, and taken down. */
#include "emitter/inside.h"
#include "emitter/wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "wire.h writes fixed-size fields of protobuf as they stand: little endian only"
#endif

enum {
    RESOURCE_FIELD = 5,
    RESOURCE_BYTES_MAX = 700,
    SPAN_BYTES_MAX = 16383,                      /* a length of two bytes */
    ANSWER_FIXED_BYTES = 2 + 9 + 11 + 9 + 4 + 18 /* of PolicyAnswer: all but thresholds */
};

static const struct weir_emit_options defaults = {
    .initial_rate = 0.01,
    .flush_ms = 500,
    .poll_ms = 2000,
    .ring_bytes = 1 << 20,
    .threads_max = 64,
    .operations_max = 256,
    .cells_max = 1024,
    .datagram_bytes = 1400,
    .text_bytes_max = 256,
    .send_buffer_bytes = 1 << 20,
};

void weir_emit_defaults(struct weir_emit_options *options, size_t size) {
    memset(options, 0, size);
    memcpy(options, &defaults, size < sizeof defaults ? size : sizeof defaults);
    options->size = size;
}

uint32_t weir_emit_abi(void) {
    return WEIR_EMIT_ABI;
}

void random_bytes(void *bytes, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = getrandom(at, size < 256 ? size : 256, 0);
        if (got <= 0) { /* no such call in this sandbox: numbers that differ still */
            struct timespec now;
            clock_gettime(CLOCK_MONOTONIC, &now);
            uint64_t weak = mix64((uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 32 ^ (uint64_t)getpid() << 16 ^ size);
            got = (ssize_t)(size < sizeof weak ? size : sizeof weak);
            memcpy(at, &weak, (size_t)got);
        }
        at += got;
        size -= (size_t)got;
    }
}

/* ---- options ---- */

static const char *check(const struct weir_emit_options *o) {
    if (o->to == NULL || o->service == NULL || o->service[0] == 0) return "`to` and `service` are needed";
    if (strlen(o->service) > NAME_BYTES_MAX) return "service: longer than 255 bytes";
    if (o->key != NULL && (o->key_size < SIGNING_KEY_MIN || o->key_size > SIGNING_KEY_MAX))
        return "key: 16 to 4,096 bytes";
    if (!(o->initial_rate >= 0 && o->initial_rate <= 1)) return "initial_rate: 0 to 1";
    if (o->flush_ms < 1 || o->flush_ms > 60000) return "flush_ms: 1 to 60,000";
    if (o->poll_ms != 0 && (o->poll_ms < 10 || o->poll_ms > 3600000)) return "poll_ms: 10 to 3,600,000, or 0";
    if (o->ring_bytes < 4096 || o->ring_bytes > 1 << 30 || (o->ring_bytes & (o->ring_bytes - 1)) != 0)
        return "ring_bytes: a power of two, 4 KiB to 1 GiB";
    if (o->threads_max < 1 || o->threads_max > 4096) return "threads_max: 1 to 4,096";
    if (o->operations_max < 1 || o->operations_max > 2000) return "operations_max: 1 to 2,000";
    if (o->cells_max > 1 << 20 || o->cells_max < CELLS_OWN + o->operations_max + 1)
        return "cells_max: operations_max and 32 more, to 1,048,576";
    if (o->datagram_bytes < 1200 || o->datagram_bytes > PACK_SEND_BYTES) return "datagram_bytes: 1,200 to 65,507";
    if (o->text_bytes_max < 16 || o->text_bytes_max > 8192) return "text_bytes_max: 16 to 8,192";
    return NULL;
}

/* 127.0.0.1:4319 or [::1]:4319 */
static bool read_address(const char *text, struct sockaddr_storage *to, socklen_t *size) {
    char host[64], *end;
    const char *colon = strrchr(text, ':');
    if (colon == NULL || colon == text || (size_t)(colon - text) >= sizeof host) return false;
    unsigned long port = strtoul(colon + 1, &end, 10);
    if (colon[1] < '0' || colon[1] > '9' || *end != 0 || port == 0 || port > 65535) return false;
    memset(to, 0, sizeof *to);
    bool six = text[0] == '[' && colon[-1] == ']';
    size_t host_size = (size_t)(colon - text) - (six ? 2 : 0);
    memcpy(host, text + (six ? 1 : 0), host_size);
    host[host_size] = 0;
    if (six) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)to;
        in6->sin6_family = AF_INET6;
        in6->sin6_port = htons((uint16_t)port);
        *size = sizeof *in6;
        return inet_pton(AF_INET6, host, &in6->sin6_addr) == 1;
    }
    struct sockaddr_in *in = (struct sockaddr_in *)to;
    in->sin_family = AF_INET;
    in->sin_port = htons((uint16_t)port);
    *size = sizeof *in;
    return inet_pton(AF_INET, host, &in->sin_addr) == 1;
}

/* KeyValue in Resource.attributes (1): key (1), AnyValue (2) with a text (1). */
static uint8_t *put_pair(uint8_t *at, const uint8_t *limit, const char *name, const char *value) {
    size_t key = strlen(name), text = strlen(value), any = 1 + length_size(text) + text;
    size_t pair = 1 + length_size(key) + key + 1 + length_size(any) + any;
    if (key > NAME_BYTES_MAX || text > RESOURCE_BYTES_MAX || pair + 3 > (size_t)(limit - at)) return NULL;
    at = put_length(put_key(at, 1, WIRE_BYTES), pair);
    at = put_text(at, 1, name, key);
    at = put_length(put_key(at, 2, WIRE_BYTES), any);
    return put_text(at, 1, value, text);
}

static bool make_resource(struct weir_emit *emit, const struct weir_emit_options *options) {
    uint8_t body[RESOURCE_BYTES_MAX];
    const uint8_t *limit = body + sizeof body;
    uint8_t *at = put_pair(body, limit, "service.name", options->service);
    for (size_t i = 0; i < options->resource_count && at != NULL; i++)
        at = put_pair(at, limit, options->resource[i].name, options->resource[i].value);
    if (at == NULL) return false;
    size_t size = (size_t)(at - body);
    emit->resource = malloc(size + 3);
    if (emit->resource == NULL) return false;
    emit->resource_size = (size_t)(put_text(emit->resource, RESOURCE_FIELD, body, size) - emit->resource);
    return true;
}

/* ---- memory ---- */

static uint64_t threshold_of(double rate) {
    return WEIR_EMIT_NEVER - (uint64_t)(rate * (double)WEIR_EMIT_NEVER);
}

/* Rings and cells of all places, reserved: the kernel gives pages to those that are used. */
static bool make_places(struct weir_emit *emit) {
    size_t ring = emit->options.ring_bytes;
    size_t cells = (emit->options.cells_max * sizeof(uint64_t) + RING_LINE - 1) & ~(size_t)(RING_LINE - 1);
    emit->slot_count = emit->options.threads_max + 1;
    emit->memory_size = emit->slot_count * (ring + cells);
    emit->slots = aligned_alloc(RING_LINE, emit->slot_count * sizeof *emit->slots);
    if (emit->slots == NULL) return false;
    emit->memory =
        mmap(NULL, emit->memory_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (emit->memory == MAP_FAILED) {
        emit->memory = NULL;
        return false;
    }
    memset(emit->slots, 0, emit->slot_count * sizeof *emit->slots);
    for (uint32_t i = 0; i < emit->slot_count; i++) {
        struct slot *slot = &emit->slots[i];
        slot->ring.bytes = emit->memory + i * ring;
        slot->ring.size = ring;
        slot->cells = (_Atomic uint64_t *)(void *)(emit->memory + emit->slot_count * ring + i * cells);
        random_bytes(slot->random, sizeof slot->random);
    }
    emit->slots[0].common = true;
    atomic_store(&emit->slots[0].used, true);
    return true;
}

static bool make_tables(struct weir_emit *emit) {
    const struct weir_emit_options *options = &emit->options;
    emit->operations = calloc(options->operations_max + 1, sizeof *emit->operations);
    emit->entries = calloc(options->cells_max, sizeof *emit->entries);
    emit->sent = calloc(options->cells_max, sizeof *emit->sent);
    emit->policy.thresholds = calloc(options->operations_max + 1, sizeof *emit->policy.thresholds);
    emit->policy.operations_max = options->operations_max + 1;
    emit->policy.threshold = threshold_of(options->initial_rate);
    return emit->operations != NULL && emit->entries != NULL && emit->sent != NULL && emit->policy.thresholds != NULL;
}

static bool make_packer(struct weir_emit *emit) {
    emit->packer = (struct packer){.datagram_bytes = emit->options.datagram_bytes,
                                   .signing = emit->is_signed ? &emit->signing : NULL,
                                   .resource = emit->resource,
                                   .resource_size = emit->resource_size,
                                   .send = send_datagrams,
                                   .self = emit};
    emit->policy.signing = emit->packer.signing;
    size_t room = pack_room_max(emit->options.datagram_bytes, emit->resource_size);
    size_t half_ring = emit->options.ring_bytes / 2 - 16;
    emit->span_bytes_max = room < SPAN_BYTES_MAX ? room : SPAN_BYTES_MAX;
    emit->reserve_max = half_ring < SPAN_BYTES_MAX ? half_ring : SPAN_BYTES_MAX;
    emit->text_bytes_max = emit->options.text_bytes_max;
    emit->ask_bytes = malloc(emit->options.datagram_bytes);
    emit->answer_bytes = malloc(emit->options.datagram_bytes);
    emit->answer_count_max = (emit->options.datagram_bytes - ANSWER_FIXED_BYTES) / sizeof(uint64_t);
    return emit->ask_bytes != NULL && emit->answer_bytes != NULL && pack_open(&emit->packer);
}

static void release(struct weir_emit *emit) {
    for (uint32_t i = 0; emit->entries != NULL && i < atomic_load(&emit->entry_count); i++) {
        free(emit->entries[i].head);
        free(emit->entries[i].histogram);
    }
    for (uint32_t i = 0; emit->operations != NULL && i < atomic_load(&emit->operation_count); i++)
        free((void *)(uintptr_t)emit->operations[i].name);
    if (emit->memory != NULL) munmap(emit->memory, emit->memory_size);
    pack_close(&emit->packer);
    free(emit->policy.thresholds);
    free(emit->ask_bytes);
    free(emit->answer_bytes);
    free(emit->operations);
    free(emit->entries);
    free(emit->slots);
    free(emit->sent);
    free(emit->resource);
    free(emit->service);
    pthread_mutex_destroy(&emit->lock);
    pthread_cond_destroy(&emit->flushed);
    free(emit);
}

static struct weir_emit *fail(struct weir_emit *emit, char *error, size_t error_size, const char *why) {
    if (error != NULL && error_size > 0) snprintf(error, error_size, "%s", why);
    if (emit != NULL) release(emit);
    return NULL;
}

/* ---- opening and closing ---- */

static struct weir_emit *new_emitter(const struct weir_emit_options *options) {
    struct weir_emit *emit = calloc(1, sizeof *emit);
    if (emit == NULL) return NULL;
    pthread_mutex_init(&emit->lock, NULL);
    run_prepare(emit);
    emit->options = *options;
    emit->fd = emit->wake_fd = -1;
    emit->cell_count = CELLS_OWN;
    emit->id = UINT64_MAX; /* no place has it */
    return emit;
}

/* All calls find no place, and no R reaches T. */
static bool disable(struct weir_emit *emit) {
    emit->disabled = true;
    emit->operations = calloc(1, sizeof *emit->operations);
    if (emit->operations == NULL) return false;
    emit->operations[0].open.threshold = WEIR_EMIT_NEVER;
    emit->operations[0].handle = (struct handle){.emit = emit, .run = emit->id};
    return true;
}

static bool start(struct weir_emit *emit) {
    pthread_mutex_lock(&emit->lock);
    bool started = run_start(emit);
    pthread_mutex_unlock(&emit->lock);
    return started;
}

struct weir_emit *weir_emit_open(const struct weir_emit_options *given, char *error, size_t error_size) {
    struct weir_emit_options options = defaults;
    memcpy(&options, given, given->size < sizeof options ? given->size : sizeof options);
    struct weir_emit *emit = new_emitter(&options);
    if (emit == NULL) return fail(NULL, error, error_size, "no memory");
    if (options.disabled) return disable(emit) ? emit : fail(emit, error, error_size, "no memory");
    const char *why = check(&options);
    if (why != NULL) return fail(emit, error, error_size, why);
    if (!read_address(options.to, &emit->to, &emit->to_size))
        return fail(emit, error, error_size, "to: not an address and port, as 127.0.0.1:4319 or [::1]:4319");
    if (!make_resource(emit, &options)) return fail(emit, error, error_size, "resource: longer than 700 bytes");
    emit->is_signed = options.key != NULL;
    if (emit->is_signed) signing_begin(&emit->signing, options.key, options.key_size);
    emit->service = strdup(options.service);
    if (emit->service == NULL || !make_places(emit) || !make_tables(emit) || !make_packer(emit) || !register_own(emit))
        return fail(emit, error, error_size, "no memory");
    if (!emitters_enter(emit)) return fail(emit, error, error_size, "more than 8 emitters");
    register_entered(emit);
    if (!start(emit)) {
        emitters_leave(emit);
        return fail(emit, error, error_size, strerror(errno));
    }
    return emit;
}

void weir_emit_close(struct weir_emit *emit) {
    if (emit == NULL) return;
    if (!emit->disabled) {
        run_stop(emit);
        emitters_leave(emit);
    }
    release(emit);
}
