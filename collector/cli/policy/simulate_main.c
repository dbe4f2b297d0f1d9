/* simulate_main.c - `weir policy simulate PATH... --policy NEW [--old OLD]`. */
#include "collector/cli/policy/policy.h"
#include "collector/cli/policy/simulate.h"
#include "collector/cli/terminal.h"
#include "collector/config/values.h"
#include "collector/core/clock.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20, ROWS_SHOWN = 40, BAR_COLUMNS = 40, SENDERS_MAX = 1000000 };

static const char usage[] = "usage: weir policy simulate PATH... --policy NEW [--old OLD]\n"
                            "\n"
                            "What proxies would send if they were told another sampling.yaml, on traffic\n"
                            "that was recorded: spans, bytes and CPU for each service and operation, and\n"
                            "how sure the counts made of them would be. A PATH is a file of the file\n"
                            "exporter, or a folder of them. Nothing is written, nothing is drawn by chance.\n"
                            "\n"
                            "  --policy NEW     the sampling.yaml to try; its `proxies:` counts\n"
                            "  --old OLD        another one beside it; else what the files have (\"filed\")\n"
                            "  --proxies N      each service has so many, for budgets of proxy_cpu (1)\n"
                            "  --all            all rows, not the first 40\n"
                            "  --json           one JSON object\n"
                            "  --no-colour      no colour; as NO_COLOR=1 in the environment\n"
                            "\n"
                            "Spans say by their weights how many traces each stands for. Budgets and floors\n"
                            "are worked out as in a running Weir, second by second, after one reading in\n"
                            "which it learns the traffic (docs/policy.md).\n"
                            "\n"
                            "  weir policy simulate ./traces --policy next.yaml --old sampling.yaml\n"
                            "\n"
                            "Exit 0; 1 when a file or policy is broken or cannot be read; 2 for wrong usage.\n";

struct arguments {
    const char *policy, *old, *proxies;
    bool all, json, no_colour;
    uint32_t senders;
    char **paths;
    int path_count;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir policy simulate: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

/* -1 to go on, or an exit status. */
static int finish(struct arguments *arguments) {
    int64_t senders;
    if (arguments->path_count == 0) return wrong("no trace files", "PATH");
    if (arguments->policy == NULL) return wrong("no policy to try", "--policy");
    if (arguments->proxies == NULL) return -1;
    if (!weir_value_integer(arguments->proxies, &senders) || senders < 1 || senders > SENDERS_MAX)
        return wrong("is not a number of proxies, 1 to 1000000", arguments->proxies);
    arguments->senders = (uint32_t)senders;
    return -1;
}

static int parse(int argc, char **argv, struct arguments *arguments) {
    const struct {
        const char *name;
        bool *flag;
        const char **value;
    } options[] = {{"--all", &arguments->all, NULL},
                   {"--json", &arguments->json, NULL},
                   {"--no-colour", &arguments->no_colour, NULL},
                   {"--no-color", &arguments->no_colour, NULL},
                   {"--policy", NULL, &arguments->policy},
                   {"--old", NULL, &arguments->old},
                   {"--proxies", NULL, &arguments->proxies}};
    const size_t count = sizeof options / sizeof *options;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        size_t option = 0;
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (name[0] != '-') {
            arguments->paths[arguments->path_count++] = argv[i];
            continue;
        }
        while (option < count && !(options[option].flag != NULL ? strcmp(name, options[option].name) == 0
                                                                : weir_terminal_is(name, options[option].name)))
            option++;
        if (option == count) return wrong("unknown argument", name);
        if (options[option].flag != NULL)
            *options[option].flag = true;
        else if (!weir_terminal_option(argc, argv, &i, options[option].value))
            return wrong("a value has to follow", name);
    }
    return finish(arguments);
}

/* ---- progress ---- */

static uint64_t bar_drawn_ns;
static bool bar_on;

static void draw_bar(void *self, uint64_t done_bytes, uint64_t all_bytes) {
    (void)self;
    uint64_t now_ns = weir_mono_ns(&weir_clock_system);
    if (!bar_on || all_bytes == 0 || now_ns < bar_drawn_ns + 100 * WEIR_MS) return;
    bar_drawn_ns = now_ns;
    if (done_bytes > all_bytes) done_bytes = all_bytes; /* a file that grows meanwhile */
    double share = (double)done_bytes / (double)all_bytes;
    char bar[BAR_COLUMNS + 1];
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', (size_t)(share * BAR_COLUMNS));
    bar[BAR_COLUMNS] = 0;
    fprintf(stderr, "\r[%s] %3d %%", bar, (int)(100 * share));
    fflush(stderr);
}

/* ---- */

static bool load(struct weir_simulation *simulation, const char *path, struct weir_names *names) {
    struct weir_error err = {0};
    struct weir_simulated_policy *policy = &simulation->policies[simulation->policy_count++];
    policy->path = path;
    if (weir_policy_load(path, names, &policy->policy, &err) != WEIR_OK) {
        fprintf(stderr, "weir policy simulate: %s\n", err.text);
        return false;
    }
    if (weir_policy_proxies(policy->policy) != NULL) return true;
    fprintf(stderr, "weir policy simulate: %s: tells proxies nothing: it has no proxies:\n", path);
    return false;
}

static int run(const struct arguments *arguments, struct weir_simulation *simulation, struct weir_names *names) {
    struct weir_buffer out = {0};
    if (!load(simulation, arguments->policy, names)) return 1;
    if (arguments->old != NULL && !load(simulation, arguments->old, names)) return 1;
    simulation->senders = arguments->senders;
    bar_on = weir_terminal_of(stderr).is_terminal;
    bool whole = weir_simulation_run(simulation, names, arguments->paths, arguments->path_count, draw_bar);
    if (bar_drawn_ns != 0) fputs("\r\033[K", stderr);
    if (!whole || !weir_simulation_sort(simulation, names)) {
        if (simulation->failed) fputs("weir policy simulate: out of memory\n", stderr);
        return 1;
    }
    if (simulation->counts.spans == 0) {
        fputs("weir policy simulate: no spans in these files\n", stderr);
        return 1;
    }
    if (arguments->json)
        weir_simulation_print_json(simulation, names, &out);
    else
        weir_simulation_print(simulation, names, arguments->all ? 0 : ROWS_SHOWN,
                              weir_terminal_of(stdout).colour && !arguments->no_colour,
                              strcmp(nl_langinfo(CODESET), "UTF-8") == 0, &out);
    bool wrote = !out.failed && fwrite(out.bytes, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
    if (!wrote && errno != EPIPE) fprintf(stderr, "weir policy simulate: stdout: %s\n", strerror(errno));
    weir_buffer_free(&out);
    return simulation->counts.broken ? 1 : 0;
}

int weir_policy_simulate_main(int argc, char **argv) {
    struct arguments arguments = {.senders = 1, .paths = calloc((size_t)argc, sizeof(char *))};
    struct weir_simulation simulation = {0};
    struct weir_names *names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    int status = 1;
    setlocale(LC_CTYPE, "");
    if (arguments.paths == NULL || names == NULL) {
        fputs("weir policy simulate: out of memory\n", stderr);
    } else {
        status = parse(argc, argv, &arguments);
        if (status < 0) status = run(&arguments, &simulation, names);
        for (int p = 0; p < simulation.policy_count; p++)
            weir_policy_unref(simulation.policies[p].policy);
        weir_simulation_free(&simulation);
    }
    weir_names_free(names);
    free((void *)arguments.paths);
    return status;
}
