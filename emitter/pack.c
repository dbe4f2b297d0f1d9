#include "emitter/pack.h"
#include "emitter/wire.h"

#include <stdlib.h>

enum field { VERSION = 1, SENDER, START, SEQUENCE, POLICY_VERSION = 9, PAD = 14, HMAC = 15 }; /* of Datagram */

bool pack_open(struct packer *packer) {
    uint32_t each = (uint32_t)(PACK_SEND_BYTES / packer->datagram_bytes);
    packer->per_message = each < PACK_SEGMENTS ? each : PACK_SEGMENTS;
    packer->count_max = packer->per_message * PACK_MESSAGES;
    packer->bytes = malloc(packer->count_max * packer->datagram_bytes);
    return packer->bytes != NULL;
}

void pack_close(struct packer *packer) {
    free(packer->bytes);
    packer->bytes = NULL;
}

size_t pack_room_max(size_t datagram_bytes, size_t resource_size) {
    size_t taken = PACK_HEAD_BYTES + PACK_PAD_BYTES + PACK_HMAC_BYTES + resource_size;
    return taken < datagram_bytes ? datagram_bytes - taken : 0;
}

static uint8_t *filling(const struct packer *packer) {
    return packer->bytes + packer->count * packer->datagram_bytes;
}

static void begin(struct packer *packer, uint64_t version) {
    uint8_t *start = filling(packer), *at = put_uint(start, VERSION, 1);
    at = put_fixed64(at, SENDER, packer->sender);
    at = put_fixed64(at, START, packer->start_ns);
    at = put_uint(at, SEQUENCE, ++packer->sequence);
    at = put_bytes(at, packer->resource, packer->resource_size);
    if (version != 0) at = put_uint(at, POLICY_VERSION, version);
    packer->used = (size_t)(at - start);
}

static void send(struct packer *packer) {
    if (packer->count > 0) packer->send(packer->self, packer);
    packer->count = 0;
}

/* pad: up to the full size, since another one follows in the same call. */
static void finish(struct packer *packer, bool pad) {
    uint8_t *start = filling(packer), *at = start + packer->used;
    if (packer->used == 0) return;
    if (pad) {
        size_t tail = packer->signing != NULL ? PACK_HMAC_BYTES : 0;
        size_t left = packer->datagram_bytes - tail - packer->used - PACK_PAD_BYTES;
        at = put_key(at, PAD, WIRE_BYTES);
        *at++ = (uint8_t)(left | 0x80); /* three bytes, whatever the length */
        *at++ = (uint8_t)(left >> 7 | 0x80);
        *at++ = (uint8_t)(left >> 14);
        memset(at, 0, left);
        at += left;
    }
    if (packer->signing != NULL) {
        uint8_t signature[SIGNATURE_BYTES];
        signing_sign(packer->signing, start, (size_t)(at - start), signature);
        at = put_text(at, HMAC, signature, sizeof signature);
    }
    packer->last = (size_t)(at - start);
    packer->used = 0;
    packer->count++;
}

uint8_t *pack_part(struct packer *packer, size_t size) {
    size_t tail = PACK_PAD_BYTES + (packer->signing != NULL ? PACK_HMAC_BYTES : 0);
    if (packer->used > 0 && packer->used + size + tail > packer->datagram_bytes) finish(packer, true);
    if (packer->used == 0) {
        if (packer->count == packer->count_max) send(packer);
        begin(packer, packer->policy_version);
    }
    return filling(packer) + packer->used;
}

void pack_wrote(struct packer *packer, const uint8_t *end) {
    packer->used = (size_t)(end - filling(packer));
}

void pack_ask(struct packer *packer, uint64_t version, const uint8_t *ask, size_t size) {
    finish(packer, true);
    if (packer->count == packer->count_max) send(packer);
    begin(packer, version);
    pack_wrote(packer, put_bytes(filling(packer) + packer->used, ask, size));
    finish(packer, true);
}

void pack_flush(struct packer *packer) {
    finish(packer, false);
    send(packer);
}
