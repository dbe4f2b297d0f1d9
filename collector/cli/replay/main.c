#include "collector/cli/replay/replay.h"
#include "collector/cli/terminal.h"
#include "collector/core/clock.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20, LOST_SHOWN = 20, BAR_COLUMNS = 40 };

static const char usage[] = "usage: weir replay PATH... --policy FILE [--against FILE]\n"
                            "\n"
                            "Runs the traces of trace files through a sampling policy as a running Weir\n"
                            "would, by the time of the spans, and says what each rule would keep, what that\n"
                            "saves, and which traces with an error would be lost. A PATH is a file of the\n"
                            "file exporter, or a folder of them; each PATH is one Weir, so limits hold for\n"
                            "each. Nothing is written.\n"
                            "\n"
                            "  --policy FILE    the sampling.yaml to try\n"
                            "  --against FILE   another one beside it, as the one in force: what differs\n"
                            "  --all            list all lost traces with an error, not the first 20\n"
                            "  --json           one JSON object\n"
                            "  --no-colour      no colour; as NO_COLOR=1 in the environment\n"
                            "\n"
                            "Files hold what was kept when they were written. Spans say by their weights\n"
                            "how many each stands for, and estimates count them so.\n"
                            "Needs about 130 MiB at most, however long the files are (docs/replay.md).\n"
                            "\n"
                            "  weir replay ./traces --policy new.yaml --against sampling.yaml\n"
                            "\n"
                            "Exit 0; 1 when a file or policy is broken or cannot be read; 2 for wrong usage.\n";

struct arguments {
    const char *policy, *against;
    bool all, json, no_colour;
    char **paths;
    int path_count;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir replay: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(name, "--all") == 0) {
            arguments->all = true;
        } else if (strcmp(name, "--json") == 0) {
            arguments->json = true;
        } else if (strcmp(name, "--no-colour") == 0 || strcmp(name, "--no-color") == 0) {
            arguments->no_colour = true;
        } else if (name[0] != '-') {
            arguments->paths[arguments->path_count++] = argv[i];
        } else if (!weir_terminal_is(name, "--policy") && !weir_terminal_is(name, "--against")) {
            return wrong("unknown argument", name);
        } else if (!weir_terminal_option(argc, argv, &i, &value)) {
            return wrong("a file has to follow", name);
        } else {
            *(weir_terminal_is(name, "--policy") ? &arguments->policy : &arguments->against) = value;
        }
    }
    if (arguments->path_count == 0) return wrong("no trace files", "PATH");
    if (arguments->policy == NULL) return wrong("no policy to try", "--policy");
    return -1;
}

/* ---- progress ---- */

static uint64_t bar_drawn_ns;
static bool bar_on;

static void draw_bar(void *self, uint64_t done_bytes, uint64_t all_bytes) {
    const struct weir_replay *replay = self;
    uint64_t now_ns = weir_mono_ns(&weir_clock_system);
    if (!bar_on || all_bytes == 0 || now_ns < bar_drawn_ns + 100 * WEIR_MS) return;
    bar_drawn_ns = now_ns;
    if (done_bytes > all_bytes) done_bytes = all_bytes; /* a file that grows meanwhile */
    int full = (int)((double)done_bytes / (double)all_bytes * BAR_COLUMNS);
    char bar[BAR_COLUMNS + 1];
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', (size_t)full);
    bar[BAR_COLUMNS] = 0;
    fprintf(stderr, "\r[%s] %3d %%  %.1f M spans", bar, (int)(100 * (double)done_bytes / (double)all_bytes),
            (double)replay->counts.spans / 1e6);
    fflush(stderr);
}

static void wipe_bar(void) {
    if (bar_drawn_ns != 0) fputs("\r\033[K", stderr);
}

/* ---- */

static bool load(struct weir_replay *replay, int p, const char *path, struct weir_names *names) {
    struct weir_error err = {0};
    replay->policies[p].path = path;
    replay->policy_count = p + 1;
    if (weir_policy_load(path, names, &replay->policies[p].policy, &err) == WEIR_OK) return true;
    fprintf(stderr, "weir replay: %s\n", err.text);
    return false;
}

static int run(const struct arguments *arguments, struct weir_replay *replay, struct weir_names *names) {
    struct weir_terminal terminal = weir_terminal_of(stdout);
    struct weir_buffer out = {0};
    if (!load(replay, 0, arguments->policy, names)) return 1;
    if (arguments->against != NULL && !load(replay, 1, arguments->against, names)) return 1;
    replay->lost_max = arguments->all ? 0 : LOST_SHOWN;
    bar_on = weir_terminal_of(stderr).is_terminal;
    bool whole = weir_replay_run(replay, names, arguments->paths, arguments->path_count, draw_bar);
    wipe_bar();
    if (!whole) return 1;
    if (replay->counts.spans == 0) {
        fputs("weir replay: no spans in these files\n", stderr);
        return 1;
    }
    if (arguments->json) {
        weir_replay_print_json(replay, names, &out);
    } else {
        weir_replay_print(replay, names, terminal.colour && !arguments->no_colour,
                          strcmp(nl_langinfo(CODESET), "UTF-8") == 0, &out);
    }
    bool wrote = !out.failed && fwrite(out.bytes, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
    if (!wrote && errno != EPIPE) fprintf(stderr, "weir replay: stdout: %s\n", strerror(errno));
    if (weir_names_overflows(names) > 0)
        fputs("weir replay: more names of services and operations than are told apart; the rest is `overflow`\n",
              stderr);
    weir_buffer_free(&out);
    return replay->counts.broken ? 1 : 0;
}

int weir_replay_main(int argc, char **argv) {
    struct arguments arguments = {.paths = calloc((size_t)argc, sizeof(char *))};
    struct weir_replay *replay = calloc(1, sizeof *replay);
    struct weir_names *names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    int status = 1;
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    if (arguments.paths == NULL || replay == NULL || names == NULL) {
        fputs("weir replay: out of memory\n", stderr);
    } else {
        status = parse(argc, argv, &arguments);
        if (status < 0) status = run(&arguments, replay, names);
        for (int p = 0; p < replay->policy_count; p++)
            weir_policy_unref(replay->policies[p].policy);
        weir_replay_free(replay);
    }
    weir_names_free(names);
    free(replay);
    free((void *)arguments.paths);
    return status;
}
