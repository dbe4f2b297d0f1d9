/* check.h - `weir check [-c FILE]`: would `weir run` take this configuration? */
#ifndef WEIR_CHECK_H
#define WEIR_CHECK_H
#include "collector/config/config.h"
#include "collector/sample/policy.h"

/* path "" = no file. Prints what would run on stdout and returns 0, or `file:line: reason` on stderr and returns 1.
 * Binds no port, so that the configuration of a running Weir can be checked beside it. */
int weir_check(const char *path);

/* `spool.durable` journals spans that wait for a decision, so some must. WEIR_INVALID: "file:line: reason". */
enum weir_status weir_check_durable(const struct weir_config *config, const struct weir_policy *policy,
                                    struct weir_error *err);
#endif
