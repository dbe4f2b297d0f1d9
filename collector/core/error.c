#include "collector/core/error.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum weir_status(weir_fail)(struct weir_error *err, enum weir_status status, int sys, bool retryable,
                            const char *format, ...) {
    if (err == NULL) return status;
    va_list args;
    va_start(args, format);
    err->status = status;
    err->retryable = retryable;
    err->sys = sys;
    int n = vsnprintf(err->text, sizeof err->text, format, args);
    va_end(args);
    if (sys != 0 && n >= 0 && (size_t)n < sizeof err->text - 3) {
        const char *why = strerror(sys);
        size_t said = strlen(why);
        if ((size_t)n < said || strcmp(err->text + n - said, why) != 0) /* the text may end with it already */
            snprintf(err->text + n, sizeof err->text - (size_t)n, ": %s", why);
    }
    return status;
}

const char *weir_status_name(enum weir_status status) {
    switch (status) {
    case WEIR_OK: return "ok";
    case WEIR_INVALID: return "invalid";
    case WEIR_FULL: return "full";
    case WEIR_IO: return "io";
    case WEIR_UNSUPPORTED: return "unsupported";
    case WEIR_CLOSED: return "closed";
    }
    return "unknown";
}
