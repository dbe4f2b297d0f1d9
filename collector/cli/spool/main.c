#include "collector/cli/spool/inside.h"
#include "collector/cli/spool/ls.h"
#include "collector/cli/spool/spool.h"
#include "collector/cli/terminal.h"
#include "collector/core/clock.h"
#include "exporters/exporter.h"

#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: weir spool ls DIR [--json]\n"
                            "       weir spool cat DIR [--all]\n"
                            "       weir spool verify DIR\n"
                            "       weir spool replay DIR --to URL [OPTION...]\n"
                            "\n"
                            "What Weir has on disk: spans that a back end did not take yet, one log for\n"
                            "each exporter, and the journal of undecided ones. DIR is spool.directory, or\n"
                            "DIR/exporters/NAME or DIR/journal for one of them. All but replay only look,\n"
                            "also at the directory of a running Weir.\n"
                            "\n"
                            "  ls       a line for each: files, spans that wait, bytes, how old\n"
                            "  cat      the spans that wait, as JSON lines (as `weir cat`)\n"
                            "  verify   reads all, and says what is damaged and where\n"
                            "  replay   sends what waits to another back end, or to another Weir\n"
                            "\n"
                            "ls:      --json        one JSON object\n"
                            "cat:     --all         also spans that were delivered and are still there\n"
                            "replay:  --to URL      http://zipkin:9411/api/v2/spans, grpc://weir:4317\n"
                            "         --as TYPE     zipkin or otlp; without it, what the URL looks like\n"
                            "         --set KEY=V   an option of that exporter (docs/configuration.md),\n"
                            "                       such as encoding=json; again for more\n"
                            "         --rate N      spans a second at most\n"
                            "         --patience N  seconds without an answer, then give up (60)\n"
                            "         --remove      remove files of which all was delivered\n"
                            "         --json        one JSON object at the end\n"
                            "\n"
                            "Exit 0; 1 when something is damaged, was not delivered, or cannot be read;\n"
                            "2 for wrong usage.\n";

struct arguments {
    const char *command, *path;
    bool json, all;
    struct weir_spool_replay_options replay;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir spool: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

static bool number(const char *text, double *value) {
    char *end;
    *value = strtod(text, &end);
    return end != text && *end == 0 && *value > 0 && *value < 1e12;
}

/* An option of replay with a value. -1 to go on. */
static int parse_replay(int argc, char **argv, int *i, struct arguments *arguments) {
    const char *name = argv[*i], *value;
    struct weir_spool_replay_options *replay = &arguments->replay;
    static const char *const known[] = {"--to", "--as", "--set", "--rate", "--patience"};
    unsigned which = 0;
    double count;
    while (which < 5 && !weir_terminal_is(name, known[which]))
        which++;
    if (which == 5 || strcmp(arguments->command, "replay") != 0) return wrong("unknown argument", name);
    if (!weir_terminal_option(argc, argv, i, &value)) return wrong("a value has to follow", name);
    switch (which) {
    case 0: replay->to = value; break;
    case 1: replay->as = value; break;
    case 2:
        if (strchr(value, '=') == NULL ||
            strspn(value, "abcdefghijklmnopqrstuvwxyz_0123456789") != (size_t)(strchr(value, '=') - value))
            return wrong("KEY=VALUE has to follow", name);
        if (replay->setting_count == WEIR_SPOOL_SETTINGS_MAX) return wrong("too many", name);
        replay->settings[replay->setting_count++] = value;
        break;
    case 3:
        if (!number(value, &replay->spans_per_second)) return wrong("spans a second have to follow", name);
        break;
    default:
        if (!number(value, &count)) return wrong("seconds have to follow", name);
        replay->patience_ns = (uint64_t)(count * (double)WEIR_S);
        break;
    }
    return -1;
}

/* What the URL looks like; NULL: neither. */
static const char *type_of(const char *url) {
    size_t size = strcspn(url, "?#");
    if (strncmp(url, "grpc://", 7) == 0 || strncmp(url, "grpcs://", 8) == 0) return "otlp";
    if (size >= 10 && strncmp(url + size - 10, "/v1/traces", 10) == 0) return "otlp";
    if (size >= 13 && strncmp(url + size - 13, "/api/v2/spans", 13) == 0) return "zipkin";
    return NULL;
}

static int check_replay(struct weir_spool_replay_options *replay) {
    if (replay->to == NULL) return wrong("where to? a URL has to be given", "--to");
    if (replay->as == NULL) replay->as = type_of(replay->to);
    if (replay->as == NULL) return wrong("what takes it, zipkin or otlp? say --as", replay->to);
    if (strcmp(replay->as, "zipkin") != 0 && strcmp(replay->as, "otlp") != 0)
        return wrong("neither zipkin nor otlp", replay->as);
    if (weir_exporter_find(replay->as) == NULL) return wrong("this Weir has no such exporter", replay->as);
    return -1;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    static const char *const commands[] = {"ls", "cat", "verify", "replay"};
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
    }
    for (size_t i = 0; argc > 1 && i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[1], commands[i]) == 0) arguments->command = commands[i];
    }
    if (argc < 2) return wrong("ls, cat, verify or replay?", "COMMAND");
    if (arguments->command == NULL) return wrong("no such command", argv[1]);
    for (int i = 2; i < argc; i++) {
        bool replay = strcmp(arguments->command, "replay") == 0;
        if (argv[i][0] != '-') {
            if (arguments->path != NULL) return wrong("one directory at a time", argv[i]);
            arguments->path = argv[i];
        } else if (strcmp(argv[i], "--json") == 0 && (replay || strcmp(arguments->command, "ls") == 0)) {
            arguments->json = arguments->replay.json = true;
        } else if (strcmp(argv[i], "--all") == 0 && strcmp(arguments->command, "cat") == 0) {
            arguments->all = true;
        } else if (strcmp(argv[i], "--remove") == 0 && replay) {
            arguments->replay.remove = true;
        } else {
            int status = parse_replay(argc, argv, &i, arguments);
            if (status >= 0) return status;
        }
    }
    if (arguments->path == NULL) return wrong("spool.directory has to be given", "DIR");
    return strcmp(arguments->command, "replay") == 0 ? check_replay(&arguments->replay) : -1;
}

static int ls(const struct weir_spool_dir *dir, bool json) {
    struct weir_spool_sum *sums = calloc(dir->part_count, sizeof *sums);
    struct weir_error err = {0};
    struct weir_buffer out = {0};
    enum weir_status status = WEIR_OK;
    if (sums == NULL) {
        fputs("weir spool: out of memory\n", stderr);
        return 1;
    }
    bool damaged = false;
    for (uint32_t i = 0; status == WEIR_OK && i < dir->part_count; i++) {
        status = weir_spool_sum(&dir->parts[i], &sums[i], &err);
        damaged = damaged || sums[i].damaged > 0;
    }
    if (status != WEIR_OK) {
        fprintf(stderr, "weir spool: %s\n", err.text);
    } else {
        if (json)
            weir_spool_ls_json(dir, sums, &out);
        else
            weir_spool_ls_print(dir, sums, weir_unix_ns(&weir_clock_system), strcmp(nl_langinfo(CODESET), "UTF-8") == 0,
                                &out);
        weir_spool_flush(&out);
    }
    weir_buffer_free(&out);
    free(sums);
    return status != WEIR_OK || damaged ? 1 : 0;
}

int weir_spool_main(int argc, char **argv) {
    struct arguments arguments = {.replay.patience_ns = 60 * WEIR_S};
    struct weir_spool_dir dir;
    struct weir_error err = {0};
    int status = parse(argc, argv, &arguments);
    if (status >= 0) return status;
    signal(SIGPIPE, SIG_IGN); /* `weir spool cat | head` ends by EPIPE, quietly */
    setlocale(LC_CTYPE, "");
    if (weir_spool_dir_open(&dir, arguments.path, &err) != WEIR_OK) {
        fprintf(stderr, "weir spool: %s\n", err.text);
        return 1;
    }
    if (strcmp(arguments.command, "ls") == 0)
        status = ls(&dir, arguments.json);
    else if (strcmp(arguments.command, "cat") == 0)
        status = weir_spool_cat(&dir, arguments.all);
    else if (strcmp(arguments.command, "verify") == 0)
        status = weir_spool_verify(&dir);
    else
        status = weir_spool_replay(&dir, &arguments.replay);
    weir_spool_dir_close(&dir);
    return status;
}
