/* explain.h - `weir explain`: rule by rule, why a trace was or would be kept. */
#ifndef WEIR_CLI_EXPLAIN_H
#define WEIR_CLI_EXPLAIN_H
#include "collector/cli/stored.h"

/* Appends what is to be said of one trace; policy NULL: only what its root says of how it was kept. */
void weir_explain_trace(const struct weir_stored_trace *trace, const struct weir_policy *policy,
                        const struct weir_names *names, bool colour, bool unicode, struct weir_buffer *out);
/* 16 or 32 hex digits. */
bool weir_explain_id(const char *text, uint64_t *trace_hi, uint64_t *trace_lo);

int weir_explain_main(int argc, char **argv); /* argv[0] is "explain" */
#endif
