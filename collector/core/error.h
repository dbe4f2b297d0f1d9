/* error.h - a status for the program, a text for the person, `retryable` for the queue. */
#ifndef WEIR_CORE_ERROR_H
#define WEIR_CORE_ERROR_H
#include <stdbool.h>

enum weir_status {
    WEIR_OK = 0,
    WEIR_INVALID,     /* the input is broken; the text names the place and the reason */
    WEIR_FULL,        /* a bound was reached; nothing changed; an ordinary answer */
    WEIR_IO,          /* the system said no; error.sys is errno */
    WEIR_UNSUPPORTED, /* sound, but not something that we speak */
    WEIR_CLOSED,      /* the other side is gone, or we are stopping */
};

struct weir_error {
    enum weir_status status;
    bool retryable;
    int sys; /* errno or 0 */
    char text[256];
};

/* Fills `err` (may be NULL) and returns `status`, so that a caller writes `return weir_fail(...)`. */
enum weir_status weir_fail(struct weir_error *err, enum weir_status status, int sys, bool retryable, const char *format,
                           ...) __attribute__((format(printf, 5, 6)));
const char *weir_status_name(enum weir_status status);

/* clang-tidy looks into one .c at a time, and would take what is returned for WEIR_OK. The definition has its name in
 * parentheses, so that this is not expanded there. */
#ifdef __clang_analyzer__
#define weir_fail(err, status, ...) (weir_fail(err, status, __VA_ARGS__), (status))
#endif
#endif
