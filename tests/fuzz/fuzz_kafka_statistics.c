/* What librdkafka says of itself: read again it says the same, and leaders are numbers. */
#include "exporters/kafka/statistics.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct weir_kafka_statistics one, two, before;
    uint32_t without;
    memset(&one, 0, sizeof one);
    memset(&two, 0, sizeof two);
    bool read = weir_kafka_statistics_read((const char *)data, size, "spans", &one);
    if (weir_kafka_statistics_read((const char *)data, size, "spans", &two) != read) abort();
    if (memcmp(&one, &two, offsetof(struct weir_kafka_statistics, leaders) + sizeof one.leaders) != 0 ||
        one.partitions > WEIR_KAFKA_LEADERS)
        abort();
    if (one.brokers_up > one.brokers) abort();
    uint32_t moved = weir_kafka_leaders_moved(&before, &one, &without);
    if (moved + without > one.partitions || weir_kafka_leaders_moved(&one, &one, &without) != 0) abort();
    if (read) before = one;
    return 0;
}
