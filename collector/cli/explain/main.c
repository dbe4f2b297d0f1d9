#include "collector/cli/ask.h"
#include "collector/cli/explain/explain.h"
#include "collector/cli/terminal.h"
#include "collector/cli/text.h"
#include "collector/config/config.h"
#include "collector/core/clock.h"
#include "collector/sample/decisions.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
    NAMES_MAX = 200000,
    NAMES_BYTES_MAX = 32 << 20,
    FLUSH_BYTES = 64 * 1024,
    DECIDED_BYTES = 24 << 20, /* some million traces */
};

static const char usage[] = "usage: weir explain PATH... [--policy FILE | -c FILE] [--trace ID]\n"
                            "       weir explain TRACE_ID [--admin URL]\n"
                            "\n"
                            "Says why traces were kept, or would be: rule by rule, what each asks and what\n"
                            "it saw. A PATH is a file of the file exporter, or a folder of them; with a\n"
                            "TRACE_ID (16 or 32 hex digits) a running Weir is asked, which knows traces that\n"
                            "wait and, for a while, those that it decided.\n"
                            "\n"
                            "  --policy FILE     the sampling.yaml whose rules are asked\n"
                            "  -c FILE           the configuration that names it\n"
                            "  --trace ID        only this trace\n"
                            "  --admin URL       the running Weir (http://127.0.0.1:9646)\n"
                            "  --token-file FILE its bearer token\n"
                            "  --ca FILE         authorities of its certificate (PEM), for https\n"
                            "  --no-colour       no colour; as NO_COLOR=1 in the environment\n"
                            "\n"
                            "Without a policy it says what the trace's root says: which rule kept it, and\n"
                            "how many it stands for.\n"
                            "\n"
                            "  weir explain ./traces --policy sampling.yaml | less\n"
                            "\n"
                            "Exit 0; 1 when something is broken, cannot be read, or the trace is not there;\n"
                            "2 for wrong usage.\n";

struct explain {
    const char *policy_path, *config_path, *trace;
    struct weir_ask ask;
    bool asked, no_colour, colour, unicode, gone;
    uint64_t trace_hi, trace_lo, shown, late;
    char **paths;
    int path_count;
    struct weir_names *names;
    struct weir_policy *policy;
    struct weir_decisions *decided;
    struct weir_buffer out;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir explain: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct explain *explain) {
    const struct {
        const char *name, **place;
    } options[] = {{"--policy", &explain->policy_path},       {"-c", &explain->config_path},
                   {"--config", &explain->config_path},       {"--trace", &explain->trace},
                   {"--admin", &explain->ask.admin},          {"--ca", &explain->ask.ca},
                   {"--token-file", &explain->ask.token_file}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (name[0] != '-') {
            explain->paths[explain->path_count++] = argv[i];
            continue;
        }
        if (strcmp(name, "--no-colour") == 0 || strcmp(name, "--no-color") == 0) {
            explain->no_colour = true;
            continue;
        }
        const char **place = NULL;
        for (size_t o = 0; o < sizeof options / sizeof *options; o++) {
            if (weir_terminal_is(name, options[o].name)) place = options[o].place;
        }
        if (place == NULL) return wrong("unknown argument", name);
        if (!weir_terminal_option(argc, argv, &i, &value)) return wrong("a value has to follow", name);
        *place = value;
    }
    if (explain->path_count == 0) return wrong("no trace files and no trace id", "PATH");
    if (explain->policy_path != NULL && explain->config_path != NULL) return wrong("--policy or -c, not both", "-c");
    if (explain->trace != NULL && !weir_explain_id(explain->trace, &explain->trace_hi, &explain->trace_lo))
        return wrong("not a trace id of 16 or 32 hex digits", explain->trace);
    return -1;
}

static void flush(struct explain *explain) {
    if (explain->out.failed) {
        fputs("weir explain: out of memory\n", stderr);
        explain->gone = true;
    }
    if (!explain->gone && fwrite(explain->out.bytes, 1, explain->out.size, stdout) != explain->out.size) {
        if (errno != EPIPE) fprintf(stderr, "weir explain: stdout: %s\n", strerror(errno));
        explain->gone = true;
    }
    weir_buffer_clear(&explain->out);
}

/* ---- a running Weir ---- */

static int ask(struct explain *explain) {
    char path[80];
    long status = 0;
    struct weir_error err = {0};
    struct weir_buffer body = {0};
    if (explain->ask.admin == NULL) explain->ask.admin = WEIR_ASK_ADMIN;
    snprintf(path, sizeof path, "/explain?trace_id=%s", explain->paths[0]);
    if (weir_ask(&explain->ask, path, &body, &status, &err) != WEIR_OK) {
        fprintf(stderr, "weir explain: %s\n", err.text);
        weir_buffer_free(&body);
        return 1;
    }
    /* Line by line: what comes may hold names of whoever sends spans, and a terminal obeys what it is sent. */
    FILE *file = status == 200 ? stdout : stderr;
    if (status != 200) fprintf(stderr, "weir explain: %s: %ld\n", explain->ask.admin, status);
    weir_buffer_byte(&body, 0);
    for (char *line = (char *)body.bytes, *end; !body.failed && *line != 0; line = end) {
        struct weir_buffer clean = {0};
        end = line + strcspn(line, "\n");
        bool more = *end != 0;
        *end = 0;
        weir_text_put(&clean, line, 400, explain->unicode);
        weir_buffer_byte(&clean, '\n');
        if (!clean.failed) fwrite(clean.bytes, 1, clean.size, file);
        weir_buffer_free(&clean);
        end += more;
    }
    weir_buffer_free(&body);
    return status == 200 ? 0 : 1;
}

/* ---- files ---- */

static bool asked_for(const struct explain *explain, uint64_t trace_hi, uint64_t trace_lo) {
    if (explain->trace == NULL) return true;
    return trace_lo == explain->trace_lo && (trace_hi == explain->trace_hi || trace_hi == 0 || explain->trace_hi == 0);
}

static bool on_late(void *self, const struct weir_span *span) {
    struct explain *explain = self;
    struct weir_verdict verdict;
    if (weir_decisions_find(explain->decided, span->trace_hi, span->trace_lo, &verdict) == WEIR_REMEMBERED_NOT)
        return false;
    explain->late += asked_for(explain, span->trace_hi, span->trace_lo);
    return true;
}

static void on_decided(void *self, const struct weir_stored_trace *trace, uint64_t now_ns) {
    struct explain *explain = self;
    (void)now_ns;
    weir_decisions_put(explain->decided, trace->trace_hi, trace->trace_lo, &(struct weir_verdict){.kept = false});
    if (!asked_for(explain, trace->trace_hi, trace->trace_lo)) return;
    if (explain->gone) return;
    if (explain->shown++ > 0) weir_buffer_byte(&explain->out, '\n');
    weir_explain_trace(trace, explain->policy, explain->names, explain->colour, explain->unicode, &explain->out);
    if (explain->out.size >= FLUSH_BYTES) flush(explain);
}

static bool load(struct explain *explain, struct weir_error *err) {
    struct weir_config *config = NULL;
    enum weir_status status = WEIR_OK;
    if (explain->config_path != NULL) status = weir_config_load(explain->config_path, &config, err);
    if (status == WEIR_OK && config != NULL && config->sampling.policy[0] == 0) {
        status = weir_fail(err, WEIR_INVALID, 0, false, "%s: names no sampling: { policy: ... }", explain->config_path);
    } else if (status == WEIR_OK && config != NULL) {
        status = weir_policy_load(config->sampling.policy, explain->names, &explain->policy, err);
    } else if (status == WEIR_OK && explain->policy_path != NULL) {
        status = weir_policy_load(explain->policy_path, explain->names, &explain->policy, err);
    }
    weir_config_free(config);
    return status == WEIR_OK;
}

static int explain_files(struct explain *explain) {
    struct weir_error err = {0};
    struct weir_stored_counts counts;
    struct weir_policy *all = NULL; /* without rules: facts of all spans */
    if (!load(explain, &err)) {
        fprintf(stderr, "weir explain: %s\n", err.text);
        return 1;
    }
    static const char no_rules[] = "keep: {}\n";
    if (explain->policy == NULL &&
        weir_policy_parse("", (const uint8_t *)no_rules, sizeof no_rules - 1, explain->names, &all, &err) != WEIR_OK) {
        fprintf(stderr, "weir explain: %s\n", err.text);
        return 1;
    }
    struct weir_stored stored = {.self = explain,
                                 .names = explain->names,
                                 .wait_ns = 10 * WEIR_S,
                                 .quiet_ns = WEIR_S,
                                 .decided = on_decided,
                                 .late = on_late,
                                 .command = "explain"};
    stored.policies[0] = explain->policy != NULL ? explain->policy : all;
    const struct weir_keep *keep = weir_policy_keep_part(stored.policies[0]);
    if (keep != NULL) stored.wait_ns = keep->wait_ns;
    if (keep != NULL) stored.quiet_ns = keep->quiet_ns;
    bool whole = weir_stored_run(&stored, explain->paths, explain->path_count, &counts);
    flush(explain);
    fflush(stdout);
    weir_policy_unref(all);
    if (explain->late > 0)
        fprintf(stderr,
                "weir explain: %llu spans came after their trace was decided; they follow it, unseen by rules\n",
                (unsigned long long)explain->late);
    if (explain->trace != NULL && explain->shown == 0) {
        fprintf(stderr, "weir explain: %s: not in these files\n", explain->trace);
        return 1;
    }
    return whole && !counts.broken ? 0 : 1;
}

int weir_explain_main(int argc, char **argv) {
    struct explain explain = {.paths = calloc((size_t)argc, sizeof(char *))};
    if (explain.paths == NULL) return 1;
    signal(SIGPIPE, SIG_IGN);
    setlocale(LC_CTYPE, "");
    int status = parse(argc, argv, &explain);
    uint64_t hi, lo;
    explain.colour = weir_terminal_of(stdout).colour && !explain.no_colour;
    explain.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    if (status < 0 && explain.path_count == 1 && weir_explain_id(explain.paths[0], &hi, &lo) &&
        access(explain.paths[0], F_OK) != 0) {
        status = ask(&explain);
    } else if (status < 0) {
        explain.names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
        explain.decided = weir_decisions_new(DECIDED_BYTES, 1);
        if (explain.names != NULL && explain.decided != NULL) {
            status = explain_files(&explain);
        } else {
            fputs("weir explain: out of memory\n", stderr);
            status = 1;
        }
        weir_decisions_free(explain.decided);
        weir_policy_unref(explain.policy);
        weir_names_free(explain.names);
    }
    weir_buffer_free(&explain.out);
    free((void *)explain.paths);
    return status;
}
