/* wave.h - how much is produced before its reports are waited for.
 *
 *   open    from its first message: a part of linger.ms, or until a partition has what one request carries
 *   closed  until nothing is under way
 *
 * An idempotent producer of librdkafka has one request a partition under way (it limits to 5 what it counts in
 * messages). While more waits behind that request, the broker's thread polls without a pause until the answer is
 * there: 2.3 of 3.9 CPU-seconds a million spans. So nothing is put behind it.
 * Source: librdkafka 2.0.2, rdkafka_broker.c, rd_kafka_toppar_producer_serve(). docs/decisions/0011 */
#ifndef WEIR_EXPORTERS_KAFKA_WAVE_H
#define WEIR_EXPORTERS_KAFKA_WAVE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_KAFKA_WAVE_SUMS = 256 }; /* partitions beyond share them: a wave is then closed earlier */

struct weir_kafka_wave {
    uint64_t length_ns;       /* it is open for at most */
    uint64_t partition_bytes; /* of a request */
    uint64_t opened_ns;
    bool closed;
    uint64_t sums[WEIR_KAFKA_WAVE_SUMS]; /* bytes, by partition */
};

/* Before the messages of another producer. request_bytes: the most that it puts into one. */
void weir_kafka_wave_begin(struct weir_kafka_wave *wave, uint64_t linger_ns, uint64_t request_bytes);
/* Whether a message may be produced now. under_way: those that wait for their report. */
bool weir_kafka_wave_takes(struct weir_kafka_wave *wave, uint64_t now_ns, uint64_t under_way);
/* A message that was produced; partition -1: it is not known yet. True: that was the last one, do not linger. */
bool weir_kafka_wave_add(struct weir_kafka_wave *wave, int32_t partition, size_t bytes);
#endif
