/* access_log.c - access logs of NGINX and HAProxy over UDP, as syslog lines: a lane's socket (receive/udp.h) and its
 * decoder (decode/access_log.h). Spans of one bulk of datagrams go on together. */
#include "collector/decode/access_log.h"
#include "collector/core/log.h"
#include "collector/receive/udp.h"

#include <errno.h>
#include <stdlib.h>

enum { BATCH_BYTES = 256 * 1024, BATCH_BYTES_MIN = 16 * 1024 };

enum { LINES, REFUSED, METRICS = REFUSED + WEIR_ACCESS_LOG_REFUSALS };
#define REFUSED_ROW(which, text)                                                                                       \
    [REFUSED + (which)] = {"access_log_refused_lines_total", "reason=\"" text "\"", WEIR_COUNTER,                      \
                           "Lines of access logs that were not taken, by reason."}
static const struct weir_metric table[METRICS] = {
    [LINES] = {"access_log_lines_total", NULL, WEIR_COUNTER, "Lines of access logs that came, good and bad."},
    REFUSED_ROW(WEIR_ACCESS_LOG_NOT_OURS, "not_ours"),
    REFUSED_ROW(WEIR_ACCESS_LOG_TRUNCATED, "truncated"),
    REFUSED_ROW(WEIR_ACCESS_LOG_MALFORMED, "malformed"),
    REFUSED_ROW(WEIR_ACCESS_LOG_BAD_ID, "bad_id"),
    REFUSED_ROW(WEIR_ACCESS_LOG_BAD_RATE, "bad_rate"),
};

struct access_log {
    struct weir_sink sink;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    struct weir_otlp *otlp;
    struct weir_access_log *decoder;
    struct weir_udp *udp;
    struct weir_batch *batch; /* of the bulk; NULL: no spans yet */
    uint64_t lines;           /* since the last bulk */
};

static void hand_on(struct access_log *log) {
    struct weir_batch *batch = log->batch;
    log->batch = NULL;
    if (batch == NULL) return;
    if (batch->span_count > 0 && log->sink.spans(log->sink.self, WEIR_RECEIVER_ACCESS_LOG, &batch) == WEIR_OK) return;
    weir_batch_unref(batch); /* refused: the sink has counted it, and nobody waits for an answer */
}

static void take_point(void *self, const struct weir_point *point) {
    struct access_log *log = self;
    log->sink.point(log->sink.self, WEIR_RECEIVER_ACCESS_LOG, point); /* what it rejects it counts */
}

static void no_room(struct access_log *log) {
    log->sink.spans_refused(log->sink.self, WEIR_RECEIVER_ACCESS_LOG, WEIR_REFUSED_MEMORY, 1);
}

static void take_line(void *self, const uint8_t *bytes, size_t size, const char *from) {
    static struct weir_log_limit limit;
    struct access_log *log = self;
    const struct weir_access_log_calls calls = {.self = log, .point = take_point};
    enum weir_access_log_refusal why;
    struct weir_error err = {0};
    (void)from;
    log->lines++;
    if (log->batch == NULL) log->batch = weir_batch_new(log->sink.budget, BATCH_BYTES_MIN);
    if (log->batch == NULL) {
        no_room(log);
        return;
    }
    switch (weir_access_log_decode(log->decoder, bytes, size, log->batch, &calls, &why, &err)) {
    case WEIR_OK: break;
    case WEIR_FULL: no_room(log); break;
    default:
        weir_count(log->set, REFUSED + why, 1);
        weir_log_limited(&limit, WEIR_LOG_WARN, "access_log_line_refused reason=\"%s\"", err.text);
    }
    if (log->batch->size >= BATCH_BYTES) hand_on(log);
}

static void end_bulk(void *self) {
    struct access_log *log = self;
    hand_on(log);
    weir_count(log->set, LINES, log->lines);
    log->lines = 0;
}

static void reload(void *self, const struct weir_config *config) {
    weir_otlp_set_rules(((struct access_log *)self)->otlp, config->rules);
}

static void close_all(void *self) {
    struct access_log *log = self;
    if (log == NULL) return;
    weir_udp_close(log->udp);
    weir_batch_unref(log->batch);
    weir_access_log_free(log->decoder);
    weir_otlp_free(log->otlp);
    weir_metrics_close(log->metrics, log->set);
    free(log);
}

static enum weir_status open_one(void **self, const struct weir_receiver_env *env, const struct weir_config *config,
                                 struct weir_error *err) {
    struct access_log *log = calloc(1, sizeof *log);
    if (log == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "access_log: no memory");
    log->sink = env->sink;
    log->metrics = env->metrics;
    log->set = weir_metrics_open(env->metrics, table, METRICS, NULL);
    log->otlp = weir_otlp_new(env->names);
    if (log->otlp != NULL)
        log->decoder = weir_access_log_new(log->otlp, env->names, config->aggregate.label_value_bytes_max);
    const struct weir_udp_options options = {.name = "access_log",
                                             .listen = &config->access_log.listen,
                                             .receive_buffer_bytes = config->access_log.receive_buffer_bytes,
                                             .datagram_bytes_max = 65535};
    const struct weir_udp_calls calls = {.self = log, .datagram = take_line, .round = end_bulk};
    enum weir_status status = WEIR_OK;
    if (log->set == NULL || log->decoder == NULL)
        status = weir_fail(err, WEIR_FULL, ENOMEM, false, "access_log: no memory");
    if (status == WEIR_OK) status = weir_udp_open(&log->udp, env, &options, &calls, err);
    if (status != WEIR_OK) {
        close_all(log);
        return status;
    }
    reload(log, config);
    *self = log;
    return WEIR_OK;
}

static enum weir_status start(void *self, struct weir_error *err) {
    return weir_udp_start(((struct access_log *)self)->udp, err);
}

static void stop(void *self) {
    weir_udp_stop(((struct access_log *)self)->udp); /* with what the kernel holds */
}

static bool idle(void *self) {
    (void)self;
    return true;
}

const struct weir_receiver weir_receive_access_log = {
    .name = "access_log",
    .open = open_one,
    .start = start,
    .reload = reload,
    .stop = stop,
    .idle = idle,
    .close = close_all,
};
