/* statsd.c - StatsD and DogStatsD over UDP: a lane's socket (receive/udp.h) and its decoder (decode/statsd.h). */
#include "collector/decode/statsd.h"
#include "collector/receive/udp.h"

#include <errno.h>
#include <stdlib.h>

enum { STATSD_LINES, STATSD_REFUSED, STATSD_METRICS = STATSD_REFUSED + WEIR_STATSD_REFUSALS };
#define REFUSED(which, text)                                                                                           \
    [STATSD_REFUSED + (which)] = {"statsd_refused_lines_total", "reason=\"" text "\"", WEIR_COUNTER,                   \
                                  "StatsD lines that were not understood, by reason."}
static const struct weir_metric table[STATSD_METRICS] = {
    [STATSD_LINES] = {"statsd_lines_total", NULL, WEIR_COUNTER, "StatsD lines that came, good and bad."},
    REFUSED(WEIR_STATSD_NO_VALUE, "no_value"),
    REFUSED(WEIR_STATSD_BAD_NAME, "bad_name"),
    REFUSED(WEIR_STATSD_BAD_VALUE, "bad_value"),
    REFUSED(WEIR_STATSD_NEGATIVE, "negative"),
    REFUSED(WEIR_STATSD_BAD_TYPE, "bad_type"),
    REFUSED(WEIR_STATSD_BAD_RATE, "bad_rate"),
    REFUSED(WEIR_STATSD_BAD_TAG, "bad_tag"),
    REFUSED(WEIR_STATSD_BAD_SECTION, "bad_section"),
    REFUSED(WEIR_STATSD_EVENT, "event"),
};

struct statsd {
    struct weir_sink sink;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    struct weir_statsd *decoder;
    struct weir_udp *udp;
    enum weir_source_label source_label;
    uint64_t lines; /* since the last bulk */
};

static void take_point(void *self, const struct weir_point *point) {
    struct statsd *statsd = self;
    statsd->sink.point(statsd->sink.self, WEIR_RECEIVER_STATSD, point); /* what it rejects it counts */
}

static void take_refusal(void *self, enum weir_statsd_refusal reason) {
    struct statsd *statsd = self;
    weir_count(statsd->set, STATSD_REFUSED + reason, 1);
    statsd->sink.points_rejected(statsd->sink.self, WEIR_RECEIVER_STATSD,
                                 reason == WEIR_STATSD_EVENT ? WEIR_POINT_UNSUPPORTED : WEIR_POINT_MALFORMED, 1);
}

/* `source_label: host` means the tag `host`, which DogStatsD clients and agents send, and else the address: a reverse
 * look-up would hold up the lane for as long as somebody's name server likes. */
static void take_datagram(void *self, const uint8_t *bytes, size_t size, const char *from) {
    struct statsd *statsd = self;
    const struct weir_statsd_calls calls = {.self = statsd, .point = take_point, .refused = take_refusal};
    struct weir_statsd_source source = {.address = statsd->source_label == WEIR_SOURCE_NONE ? NULL : from,
                                        .prefer_host_tag = statsd->source_label == WEIR_SOURCE_HOST};
    statsd->lines += weir_statsd_decode(statsd->decoder, bytes, size, source, &calls);
}

static void end_bulk(void *self) {
    struct statsd *statsd = self;
    weir_count(statsd->set, STATSD_LINES, statsd->lines);
    statsd->lines = 0;
}

static void reload(void *self, const struct weir_config *config) {
    struct statsd *statsd = self;
    statsd->source_label = config->statsd.source_label;
    weir_udp_want_sender(statsd->udp, statsd->source_label != WEIR_SOURCE_NONE);
}

static void close_all(void *self) {
    struct statsd *statsd = self;
    if (statsd == NULL) return;
    weir_udp_close(statsd->udp);
    weir_statsd_free(statsd->decoder);
    weir_metrics_close(statsd->metrics, statsd->set);
    free(statsd);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct statsd *statsd = calloc(1, sizeof *statsd);
    if (statsd == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "statsd: no memory");
    statsd->sink = env->sink;
    statsd->metrics = env->metrics;
    statsd->set = weir_metrics_open(env->metrics, table, STATSD_METRICS, NULL);
    statsd->decoder = weir_statsd_new(env->names, config->aggregate.label_value_bytes_max);
    struct weir_udp_options options = {.name = weir_receive_statsd.name,
                                       .listen = &config->statsd.listen,
                                       .receive_buffer_bytes = config->statsd.receive_buffer_bytes,
                                       .datagram_bytes_max = 65535};
    struct weir_udp_calls calls = {.self = statsd, .datagram = take_datagram, .round = end_bulk};
    enum weir_status status = WEIR_OK;
    if (statsd->set == NULL || statsd->decoder == NULL)
        status = weir_fail(err, WEIR_FULL, ENOMEM, false, "statsd: no memory");
    if (status == WEIR_OK) status = weir_udp_open(&statsd->udp, env, &options, &calls, err);
    if (status != WEIR_OK) {
        close_all(statsd);
        return status;
    }
    reload(statsd, config);
    *self = statsd;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    struct statsd *statsd = self;
    return weir_udp_start(statsd->udp, err);
}

static void stop(void *self) {
    struct statsd *statsd = self;
    weir_udp_stop(statsd->udp);
}

static bool idle(void *self) {
    (void)self; /* stop() took what there was, and a datagram is done when its call returns */
    return true;
}

const struct weir_receiver weir_receive_statsd = {
    .name = "statsd",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
