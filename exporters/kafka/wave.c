#include "exporters/kafka/wave.h"
#include "collector/core/clock.h"

#include <string.h>

enum {
    RECORD_HEAD = 40, /* of a message in a request, its key included: Kafka protocol, Record */
};
#define LENGTH_LEAST (2 * WEIR_MS) /* with linger.ms=0, too, a batch is produced in some large strokes */

void weir_kafka_wave_begin(struct weir_kafka_wave *wave, uint64_t linger_ns, uint64_t request_bytes) {
    *wave = (struct weir_kafka_wave){
        /* Messages that come when librdkafka has closed the request would wait behind it. */
        .length_ns = linger_ns * 3 / 4 > LENGTH_LEAST ? linger_ns * 3 / 4 : LENGTH_LEAST,
        .partition_bytes = request_bytes - request_bytes / 16,
    };
}

bool weir_kafka_wave_takes(struct weir_kafka_wave *wave, uint64_t now_ns, uint64_t under_way) {
    if (under_way == 0) {
        wave->opened_ns = now_ns;
        wave->closed = false;
        memset(wave->sums, 0, sizeof wave->sums);
    } else if (now_ns - wave->opened_ns >= wave->length_ns) {
        wave->closed = true;
    }
    return !wave->closed;
}

bool weir_kafka_wave_add(struct weir_kafka_wave *wave, int32_t partition, size_t bytes) {
    if (partition < 0) return false;
    uint64_t *sum = &wave->sums[partition % WEIR_KAFKA_WAVE_SUMS];
    *sum += bytes + RECORD_HEAD;
    if (*sum < wave->partition_bytes || wave->closed) return false;
    wave->closed = true;
    return true;
}
