/* udp.h - one lane's UDP socket, read in bulk: recvmmsg, and UDP_GRO where the sender or the card gathered datagrams.
 * Measured on a 2-core EPYC VM: 1,330 ns a datagram by recvmmsg alone, 25-95 ns with UDP_GRO here and UDP_SEGMENT
 * there. Lanes share the port by SO_REUSEPORT; the kernel spreads senders by address and port.
 *
 * Metrics, with receiver="<name>": weir_datagrams_received_total, weir_datagrams_lost_total{reason} (kernel: no room in
 * the socket's buffer; truncated: longer than datagram_bytes_max), weir_udp_receive_buffer_bytes. */
#ifndef WEIR_RECEIVE_UDP_H
#define WEIR_RECEIVE_UDP_H
#include "collector/receive/receiver.h"

struct weir_udp;

struct weir_udp_options {
    const char *name; /* the receiver's, for metrics, logs and errors */
    const struct weir_listen *listen;
    uint64_t receive_buffer_bytes; /* asked of the kernel */
    uint32_t datagram_bytes_max;   /* 65,535 takes all that UDP can carry; less also bounds what GRO may gather */
};

struct weir_udp_calls {
    void *self;
    /* One datagram; bytes valid during the call. `from` is its sender's numeric address, "" while no sender was asked
     * for. */
    void (*datagram)(void *self, const uint8_t *bytes, size_t size, const char *from);
    void (*round)(void *self); /* after each bulk of them; may be NULL */
};

enum weir_status weir_udp_open(struct weir_udp **udp, const struct weir_receiver_env *env,
                               const struct weir_udp_options *options, const struct weir_udp_calls *calls,
                               struct weir_error *err);
enum weir_status weir_udp_start(struct weir_udp *udp, struct weir_error *err);
/* Whether `from` is made out, and senders can be answered. */
void weir_udp_want_sender(struct weir_udp *udp, bool wanted);
/* Answers the datagram that is being given out, to where it came from and from the address that it was sent to, without
 * waiting. False: it was not sent, errno says why. */
bool weir_udp_answer(struct weir_udp *udp, const uint8_t *bytes, size_t size);
uint16_t weir_udp_port(const struct weir_udp *udp); /* the one bound, where the configuration said 0 */
/* Takes what the kernel already holds (at most 64 MiB), then listens no more. */
void weir_udp_stop(struct weir_udp *udp);
void weir_udp_close(struct weir_udp *udp); /* accepts NULL */
#endif
