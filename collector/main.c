/* main.c - the sub-commands. */
#include "collector/check.h"
#include "collector/cli/explain/explain.h"
#include "collector/cli/import/import.h"
#include "collector/cli/policy/policy.h"
#include "collector/cli/replay/replay.h"
#include "collector/cli/spool/spool.h"
#include "collector/cli/tail/tail.h"
#include "collector/cli/top/top.h"
#include "collector/core/log.h"
#include "collector/emit/emit.h"
#include "collector/pipeline.h"
#include "exporters/file/cat.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

static const char main_usage[] =
    "usage: weir COMMAND [OPTION...]        weir COMMAND --help explains one\n"
    "\n"
    "  run      collect: spans and counters in, series on /metrics, traces out\n"
    "  check    would this configuration run? exit 0, or 1 and file:line: reason\n"
    "  emit     play a mesh: send spans and counters, and say what became of them\n"
    "  cat      print the spans of trace files as JSON lines\n"
    "  top      a Weir and its mesh at a glance: rates, errors, percentiles, what tracing costs\n"
    "  tail     watch traces as they are decided, drawn as trees\n"
    "  explain  why a trace was or would be kept, rule by rule\n"
    "  replay   try a sampling policy on trace files: what it keeps, saves, loses\n"
    "  import   turn rules of another tail sampler into a sampling.yaml\n"
    "  policy   what proxies are told to sample: render it as a file, look at it, try another\n"
    "  spool    what waits on disk for back ends: look at it, check it, send it on\n"
    "  version  print the version\n"
    "\n"
    "`weir run` needs no configuration: gRPC on 127.0.0.1:4317, StatsD on 127.0.0.1:8125/udp, /metrics on\n"
    "127.0.0.1:9646, traces into ./traces.\n";

static const char run_usage[] =
    "usage: weir run [-c FILE]\n"
    "\n"
    "Collects until SIGTERM or SIGINT, then drains within drain_timeout and exits 0.\n"
    "  -c FILE   the configuration (docs/configuration.md); without it the defaults: gRPC on 127.0.0.1:4317,\n"
    "            StatsD on 127.0.0.1:8125/udp, /metrics on 127.0.0.1:9646, traces into ./traces\n"
    "\n"
    "SIGHUP, as POST /-/reload, reads configuration and sampling policy again; what is wrong changes nothing.\n"
    "WEIR_LISTEN_HOST=0.0.0.0 changes the host of every default address, for containers.\n";

static const char check_usage[] =
    "usage: weir check [-c FILE]\n"
    "\n"
    "Reads the configuration and the sampling policy that it names, as `weir run` would, and prints what would run.\n"
    "Exit 0, or 1 and `file:line: reason` on stderr; `file:line: warning: ...` is of what can have no effect.\n"
    "Binds no port.\n"
    "  -c FILE       the configuration; without it the defaults\n"
    "  --reference   print the page of all keys (docs/configuration.md) instead\n";

/* -c FILE, --config FILE, --config=FILE, --help. Returns -1 to go on, or an exit status. */
static int parse(int argc, char **argv, const char *usage, const char **path, bool *reference) {
    *path = "";
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if ((strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0) && i + 1 < argc) {
            *path = argv[++i];
        } else if (strncmp(argv[i], "--config=", 9) == 0) {
            *path = argv[i] + 9;
        } else if (reference != NULL && strcmp(argv[i], "--reference") == 0) {
            *reference = true;
        } else {
            bool is_key = strcmp(argv[i], "-c") == 0 || strcmp(argv[i], "--config") == 0;
            fprintf(stderr, "weir %s: %s: %s\n\n%s", argv[0], argv[i],
                    is_key              ? "a file has to follow"
                    : argv[i][0] != '-' ? "unknown argument; a configuration is given with -c"
                                        : "unknown argument",
                    usage);
            return 2;
        }
    }
    return -1;
}

/* A gateway has thousands of connections; the soft limit is a leftover of select(2). */
static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
}

static int run(int argc, char **argv) {
    const char *path;
    int status = parse(argc, argv, run_usage, &path, NULL);
    if (status >= 0) return status;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &signals, NULL); /* every thread inherits it: they come to sigwaitinfo() below */
    signal(SIGPIPE, SIG_IGN);
    raise_descriptor_limit();

    struct weir_error err = {0};
    struct weir_pipeline *pipeline = NULL;
    if (weir_pipeline_start(&pipeline, path, &err) != WEIR_OK) {
        fprintf(stderr, "%s\n", err.text);
        return 1;
    }
    for (;;) {
        int caught = sigwaitinfo(&signals, NULL);
        if (caught < 0 && errno == EINTR) continue;
        if (caught != SIGHUP) break;
        struct weir_buffer answer = {0};
        weir_pipeline_reload(pipeline, &answer); /* which logs its outcome */
        weir_buffer_free(&answer);
    }
    /* Who presses Ctrl-C again means it. */
    sigset_t again;
    sigemptyset(&again);
    sigaddset(&again, SIGINT);
    pthread_sigmask(SIG_UNBLOCK, &again, NULL);
    weir_pipeline_stop(pipeline);
    return 0;
}

static int check(int argc, char **argv) {
    const char *path;
    bool reference = false;
    int status = parse(argc, argv, check_usage, &path, &reference);
    if (status >= 0) return status;
    if (!reference) return weir_check(path);
    weir_config_print_reference();
    return 0;
}

static int version(int argc, char **argv) {
    (void)argc;
    (void)argv;
    puts("weir " WEIR_VERSION);
    return 0;
}

static int dispatch(int argc, char **argv);

/* `weir help COMMAND` is `weir COMMAND --help`. */
static int help(int argc, char **argv) {
    char option[] = "--help";
    if (argc > 1 && argv[1][0] != '-') return dispatch(2, (char *[]){argv[1], option, NULL});
    fputs(main_usage, stdout);
    return 0;
}

static int dispatch(int argc, char **argv) {
    static const struct {
        const char *name;
        int (*run)(int argc, char **argv);
    } commands[] = {
        {"run", run},
        {"check", check},
        {"emit", weir_emit_main},
        {"cat", weir_cat_main},
        {"top", weir_top_main},
        {"tail", weir_tail_main},
        {"explain", weir_explain_main},
        {"replay", weir_replay_main},
        {"import", weir_import_main},
        {"policy", weir_policy_main},
        {"spool", weir_spool_main},
        {"version", version},
        {"--version", version},
        {"help", help},
        {"--help", help},
        {"-h", help},
    };
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(argv[0], commands[i].name) == 0) return commands[i].run(argc, argv);
    }
    fprintf(stderr, "weir: no command %s\n\n%s", argv[0], main_usage);
    return 2;
}

int main(int argc, char **argv) {
    if (argc >= 2) return dispatch(argc - 1, argv + 1);
    fputs(main_usage, stderr);
    return 2;
}
