/* log.h - a line is an event with keys: `event=export_failed exporter=zipkin status=503 held=12`.
 * Lines go to stderr with a time and a level. A line that repeats is printed at most once per interval and then
 * carries the number swallowed. Payloads are never logged at the default level. */
#ifndef WEIR_CORE_LOG_H
#define WEIR_CORE_LOG_H
#include <stdint.h>

enum weir_log_level { WEIR_LOG_DEBUG, WEIR_LOG_INFO, WEIR_LOG_WARN, WEIR_LOG_ERROR };

void weir_log_set_level(enum weir_log_level level);
/* `format` starts with the event's name: weir_log(WEIR_LOG_INFO, "lane_started lane=%u", n). One write(2) a line; any
 * thread. */
void weir_log(enum weir_log_level level, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* For what may repeat: one static struct per place; any thread. At most one line per 10 s. */
struct weir_log_limit {
    _Atomic uint64_t next_ns;
    _Atomic uint64_t swallowed;
};
void weir_log_limited(struct weir_log_limit *limit, enum weir_log_level level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
#endif
