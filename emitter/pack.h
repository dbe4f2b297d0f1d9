/* pack.h - datagrams (schemas/weir/v1/datagram.proto) one behind the other, all of one size but the last, so that the
 * kernel takes them by one UDP_SEGMENT call. No socket here: who sends is called. One thread. */
#ifndef WEIR_EMITTER_PACK_H
#define WEIR_EMITTER_PACK_H
#include "emitter/signing.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    PACK_SEND_BYTES = 65507, /* 65,535 - 20 (IPv4) - 8 (UDP): what one call of UDP_SEGMENT may carry */
    PACK_SEGMENTS = 64,      /* linux/udp.h: UDP_MAX_SEGMENTS, before Linux 6.9 */
    PACK_MESSAGES = 4,       /* so many of those calls by one sendmmsg */
    PACK_PAD_BYTES = 4,      /* key and a length of three bytes */
    PACK_HMAC_BYTES = 2 + SIGNATURE_BYTES,
    PACK_HEAD_BYTES = 2 + 9 + 9 + 11 + 11, /* version, sender, start, sequence, policy_version */
};

struct packer {
    size_t datagram_bytes;
    const struct signing *signing; /* NULL: none */
    const uint8_t *resource;       /* the field, key and length too */
    size_t resource_size;
    uint64_t sender, start_ns, sequence, policy_version;
    uint8_t *bytes; /* count whole datagrams, and the one that fills */
    size_t used;    /* bytes of the one that fills; 0: none is begun */
    size_t last;    /* bytes of the last whole one */
    uint32_t count, count_max, per_message;
    void (*send)(void *self, const struct packer *packer); /* all whole ones; they are gone after it */
    void *self;
};

/* datagram_bytes, signing, resource, sender, start_ns, send are set. False: no memory. */
bool pack_open(struct packer *packer);
void pack_close(struct packer *packer);
/* Of the largest part, key and length too, that a datagram can hold. */
size_t pack_room_max(size_t datagram_bytes, size_t resource_size);
/* Room for a part of so many bytes, in the datagram that fills or in the next. */
uint8_t *pack_part(struct packer *packer, size_t size);
/* A part of size bytes at most was written up to end. */
void pack_wrote(struct packer *packer, const uint8_t *end);
/* One that asks: in a datagram of its own, of full size, which says version. */
void pack_ask(struct packer *packer, uint64_t version, const uint8_t *ask, size_t size);
/* Sends all. */
void pack_flush(struct packer *packer);
#endif
