/* options.h - what `weir tail` was asked for, and the address that it asks. Pure. */
#ifndef WEIR_CLI_TAIL_OPTIONS_H
#define WEIR_CLI_TAIL_OPTIONS_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

#include <stdint.h>

#define WEIR_TAIL_ADMIN "http://127.0.0.1:9646"
enum { WEIR_TAIL_SPANS = 40 };

/* Texts point into argv; NULL = not given. */
struct weir_tail_options {
    const char *admin, *token_file, *ca, *read;
    const char *service, *rule, *min_duration; /* filters, that the collector applies */
    bool errors, dropped;
    uint64_t limit; /* traces; 0 = until it is ended */
    uint64_t spans; /* lines of spans a trace; 0 = all */
    bool no_colour, ascii, json;
};

/* WEIR_INVALID: err->text names the option. *help: --help was among them, the rest is undefined. */
enum weir_status weir_tail_options_parse(int argc, char **argv, struct weir_tail_options *options, bool *help,
                                         struct weir_error *err);
/* The address of the stream, NUL-terminated: of options->admin, where "http://" may be left out, with the filters as a
 * query. */
void weir_tail_url(const struct weir_tail_options *options, struct weir_buffer *out);
extern const char weir_tail_usage[];
#endif
