#include "collector/cli/top/options.h"
#include "collector/cli/terminal.h"
#include "collector/config/values.h"
#include "collector/core/clock.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

enum { INTERVAL_MIN_MS = 200 };

const char weir_top_usage[] = "usage: weir top [OPTION...]\n"
                              "\n"
                              "A running Weir at a glance: is the mesh healthy, is telemetry complete, what does\n"
                              "tracing cost; below it services with rate, errors, percentiles, sampling and cost.\n"
                              "Reads /metrics and /policy of the admin port; ? shows the keys, q ends it.\n"
                              "\n"
                              "  --admin URL        the admin port, which may be another machine's;\n"
                              "                     http://127.0.0.1:9646 is the default\n"
                              "  --interval D       between two questions: 2s is the default, 200ms the least;\n"
                              "                     rates are of the last five intervals\n"
                              "  --once             print one frame as text, of one interval, and end; so it is\n"
                              "                     also where stdin or stdout is no terminal\n"
                              "  --view V           begin with services, operations or calls\n"
                              "  --service S        begin with the operations of this service\n"
                              "  --sort C           begin by name, rate, errors, p50, p95, p99, sampled, spans, cpu\n"
                              "  --filter TEXT      only names with this in them\n"
                              "  --token-file FILE  with the token that the admin port asks for\n"
                              "  --ca FILE          authorities to check an https:// address by\n"
                              "  --no-color         no colour; as NO_COLOR=1 in the environment\n"
                              "  --ascii            no other characters; the default where the locale is not UTF-8\n"
                              "\n"
                              "Exit 0; 1 when --once gets no answer; 2 for wrong usage.\n";

static enum weir_status read_interval(const char *text, uint64_t *ns, struct weir_error *err) {
    if (weir_value_duration(text, ns) && *ns >= INTERVAL_MIN_MS * WEIR_MS && *ns <= 3600 * WEIR_S) return WEIR_OK;
    return weir_fail(err, WEIR_INVALID, 0, false, "--interval: %s: from 200ms to 1h, with its unit", text);
}

static enum weir_status read_word(const char *option, const char *text, const char *const *words, int count, int *place,
                                  struct weir_error *err) {
    for (*place = 0; *place < count; ++*place) {
        if (strcasecmp(words[*place], text) == 0) return WEIR_OK;
    }
    return weir_fail(err, WEIR_INVALID, 0, false, "%s: %s: not one that there is", option, text);
}

struct texts {
    const char *admin, *interval, *view, *service, *sort, *filter, *token_file, *ca;
};

static enum weir_status read_texts(const struct texts *texts, struct weir_top_options *options,
                                   struct weir_error *err) {
    static const char *const views[] = {"services", "operations", "calls"};
    static const char *const columns[WEIR_TOP_COLUMNS] = {"name", "rate",    "errors", "p50", "p95",
                                                          "p99",  "sampled", "spans",  "cpu"};
    int place = WEIR_TOP_SERVICES;
    options->ask = (struct weir_ask){.admin = texts->admin, .token_file = texts->token_file, .ca = texts->ca};
    options->service = texts->service;
    if (texts->interval != NULL && read_interval(texts->interval, &options->interval_ns, err) != WEIR_OK)
        return err->status;
    if (texts->view != NULL && read_word("--view", texts->view, views, WEIR_TOP_KINDS, &place, err) != WEIR_OK)
        return err->status;
    options->state.table = texts->service != NULL ? WEIR_TOP_OPERATIONS : (enum weir_top_table_kind)place;
    if (texts->service != NULL && texts->view != NULL && place != WEIR_TOP_OPERATIONS)
        return weir_fail(err, WEIR_INVALID, 0, false, "--service: is of --view operations");
    place = WEIR_TOP_BY_RATE;
    if (texts->sort != NULL && read_word("--sort", texts->sort, columns, WEIR_TOP_COLUMNS, &place, err) != WEIR_OK)
        return err->status;
    options->state.sort = (enum weir_top_column)place;
    if (texts->filter != NULL && strlen(texts->filter) >= sizeof options->state.filter)
        return weir_fail(err, WEIR_INVALID, 0, false, "--filter: is longer than %d bytes", WEIR_TOP_FILTER_BYTES - 1);
    if (texts->filter != NULL) snprintf(options->state.filter, sizeof options->state.filter, "%s", texts->filter);
    return WEIR_OK;
}

static bool is_flag(const char *argument, struct weir_top_options *options) {
    const struct {
        const char *name;
        bool *flag;
    } flags[] = {{"--once", &options->once},
                 {"--no-color", &options->no_colour},
                 {"--no-colour", &options->no_colour},
                 {"--ascii", &options->ascii}};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (strcmp(argument, flags[i].name) != 0) continue;
        *flags[i].flag = true;
        return true;
    }
    return false;
}

enum weir_status weir_top_options_parse(int argc, char **argv, struct weir_top_options *options, bool *help,
                                        struct weir_error *err) {
    struct texts texts = {.admin = WEIR_ASK_ADMIN};
    const struct {
        const char *name;
        const char **value;
    } values[] = {{"--admin", &texts.admin},
                  {"--from", &texts.admin},
                  {"--interval", &texts.interval},
                  {"--view", &texts.view},
                  {"--service", &texts.service},
                  {"--sort", &texts.sort},
                  {"--filter", &texts.filter},
                  {"--token-file", &texts.token_file},
                  {"--ca", &texts.ca}};
    *options = (struct weir_top_options){.interval_ns = 2 * WEIR_S};
    *help = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (strcmp(argument, "-h") == 0 || strcmp(argument, "--help") == 0) {
            *help = true;
            return WEIR_OK;
        }
        if (is_flag(argument, options)) continue;
        size_t at = 0, count = sizeof values / sizeof *values;
        while (at < count && !weir_terminal_is(argument, values[at].name))
            at++;
        if (at == count) return weir_fail(err, WEIR_INVALID, 0, false, "%s: unknown argument", argument);
        if (!weir_terminal_option(argc, argv, &i, values[at].value))
            return weir_fail(err, WEIR_INVALID, 0, false, "%s: a value has to follow", argument);
    }
    return read_texts(&texts, options, err);
}
