/* options.h - what `weir top` was asked for. Pure. */
#ifndef WEIR_CLI_TOP_OPTIONS_H
#define WEIR_CLI_TOP_OPTIONS_H
#include "collector/cli/ask.h"
#include "collector/cli/top/draw.h"

struct weir_top_options {
    struct weir_ask ask;
    uint64_t interval_ns;
    const char *service; /* of operations; NULL: all */
    struct weir_top_state state;
    bool once, no_colour, ascii;
};

/* WEIR_INVALID: err->text names the option. *help: --help was among them, the rest is undefined. */
enum weir_status weir_top_options_parse(int argc, char **argv, struct weir_top_options *options, bool *help,
                                        struct weir_error *err);
extern const char weir_top_usage[];
#endif
