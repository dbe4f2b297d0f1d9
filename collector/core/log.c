#include "collector/core/log.h"
#include "collector/core/clock.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Atomic int log_level = WEIR_LOG_INFO;

static const char *const level_names[] = {"debug", "info", "warn", "error"};

void weir_log_set_level(enum weir_log_level level) {
    atomic_store(&log_level, (int)level);
}

static void write_line(enum weir_log_level level, uint64_t swallowed, const char *format, va_list args) {
    char line[4096]; /* the last line of a run carries the whole ledger */
    struct timespec now;
    struct tm tm;
    clock_gettime(CLOCK_REALTIME, &now);
    gmtime_r(&now.tv_sec, &tm);
    size_t n = strftime(line, sizeof line, "time=%Y-%m-%dT%H:%M:%S", &tm);
    n += (size_t)snprintf(line + n, sizeof line - n, ".%03ldZ level=%s event=", now.tv_nsec / 1000000,
                          level_names[level]);
    int wrote = vsnprintf(line + n, sizeof line - n - 1, format, args);
    if (wrote > 0) n += (size_t)wrote;
    if (n > sizeof line - 40) n = sizeof line - 40;
    if (swallowed > 0)
        n += (size_t)snprintf(line + n, sizeof line - n, " repeated=%llu", (unsigned long long)swallowed);
    for (size_t i = 0; i < n; i++) { /* whatever a peer put into a value, one event stays one line */
        if ((unsigned char)line[i] < 0x20 || line[i] == 0x7f) line[i] = ' ';
    }
    line[n++] = '\n';
    ssize_t ignored = write(STDERR_FILENO, line, n);
    (void)ignored;
}

void weir_log(enum weir_log_level level, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&log_level, memory_order_relaxed)) return;
    va_list args;
    va_start(args, format);
    write_line(level, 0, format, args);
    va_end(args);
}

void weir_log_limited(struct weir_log_limit *limit, enum weir_log_level level, const char *format, ...) {
    if ((int)level < atomic_load_explicit(&log_level, memory_order_relaxed)) return;
    uint64_t now = weir_mono_ns(&weir_clock_system);
    uint64_t next = atomic_load(&limit->next_ns);
    if (now < next || !atomic_compare_exchange_strong(&limit->next_ns, &next, now + 10 * WEIR_S)) {
        atomic_fetch_add(&limit->swallowed, 1);
        return;
    }
    va_list args;
    va_start(args, format);
    write_line(level, atomic_exchange(&limit->swallowed, 0), format, args);
    va_end(args);
}
