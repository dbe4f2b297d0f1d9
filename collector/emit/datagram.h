/* datagram.h - sends what is played as Weir datagrams (schemas/weir/v1/datagram.proto): nobody answers, so spans are
 * paced, and what left is counted, not what came.
 *
 * Datagrams that leave by one call have one size (udp(7), UDP_SEGMENT): all but the last are padded up to
 * --datagram-bytes. Each of the --connections is a socket and a sender of its own, with its own sequence numbers. */
#ifndef WEIR_EMIT_DATAGRAM_H
#define WEIR_EMIT_DATAGRAM_H
#include "collector/emit/client.h"

/* Until everything that is played was sent. WEIR_IO: no socket; WEIR_INVALID: no key. counts: sent, requests
 * (datagrams), bytes; refused: spans that the system did not take, or that are larger than a datagram. */
enum weir_status weir_emit_datagram_run(const struct weir_emit_options *options, struct weir_emit_play *play,
                                        const struct weir_emit_client_watch *watch, struct weir_emit_counts *counts,
                                        struct weir_error *err);
#endif
