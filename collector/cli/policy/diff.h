/* diff.h - what proxies would be told differently by another file: values in force, with what a service or an
 * operation takes over from the default, so that a row that says the same as the default is no difference. */
#ifndef WEIR_CLI_POLICY_DIFF_H
#define WEIR_CLI_POLICY_DIFF_H
#include "collector/core/names.h"
#include "collector/sample/proxies.h"

enum weir_change_kind {
    WEIR_CHANGE_SHARE,
    WEIR_CHANGE_NUMBER,
    WEIR_CHANGE_BYTES,
    WEIR_CHANGE_SECONDS,
    WEIR_CHANGE_TEXT
};

/* One value. Numbers are NAN where none is said; texts "" where none is. */
struct weir_change {
    uint32_t service;   /* name; 0: all others */
    uint32_t operation; /* as it is told; 0: the service's own */
    bool fleet;         /* of the file as a whole */
    const char *what;   /* as the key is called */
    enum weir_change_kind kind;
    double before, after;
    const char *text_before, *text_after;
};

/* Calls `change` for each: of the fleet, then of services by name, each with its operations, then of all others. The
 * count is returned. Names of both are of one table; NULL: the file tells proxies nothing. */
uint32_t weir_policy_diff(const struct weir_proxies *before, const struct weir_proxies *after,
                          const struct weir_names *names, void (*change)(void *self, const struct weir_change *change),
                          void *self, bool *no_memory);
#endif
