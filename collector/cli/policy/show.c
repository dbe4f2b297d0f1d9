/* show.c - `weir policy show`: what a running Weir tells proxies, or what a file would tell them. */
#include "collector/cli/ask.h"
#include "collector/cli/policy/policy.h"
#include "collector/cli/policy/view.h"
#include "collector/cli/terminal.h"
#include "collector/config/config.h"
#include "collector/core/clock.h"
#include "collector/sample/plan_json.h"
#include "collector/sample/policy.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <string.h>

enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20 };

static const char usage[] = "usage: weir policy show [--from URL | -c FILE | --policy FILE]\n"
                            "\n"
                            "What proxies are told, and why: for each service and operation the rate in\n"
                            "force, since when, what is offered, and what that comes to; who follows.\n"
                            "\n"
                            "  --from URL         the admin port of a running Weir, or --admin URL;\n"
                            "                     http://127.0.0.1:9646 is the default\n"
                            "  -c FILE            off-line, of a configuration: its sampling.policy, and\n"
                            "                     its canary\n"
                            "  --policy FILE      off-line, of a sampling.yaml\n"
                            "  --json             as /policy answers: one JSON object\n"
                            "  --token-file FILE  with the token that the admin port asks for\n"
                            "  --ca FILE          authorities to check an https:// address by\n"
                            "  --no-colour        no colour; as NO_COLOR=1 in the environment\n"
                            "\n"
                            "Exit 0; 1 when nobody answers or a file is wrong; 2 for wrong usage.\n";

struct arguments {
    struct weir_ask ask;
    const char *config, *policy;
    bool from, json, no_colour;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir policy show: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    const struct {
        const char *name;
        const char **value;
    } options[] = {{"--from", &arguments->ask.admin},
                   {"--admin", &arguments->ask.admin}, /* as all others have it */
                   {"-c", &arguments->config},
                   {"--config", &arguments->config},
                   {"--policy", &arguments->policy},
                   {"--ca", &arguments->ask.ca},
                   {"--token-file", &arguments->ask.token_file}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i];
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(name, "--json") == 0) {
            arguments->json = true;
            continue;
        }
        if (strcmp(name, "--no-colour") == 0 || strcmp(name, "--no-color") == 0) {
            arguments->no_colour = true;
            continue;
        }
        size_t option = 0, count = sizeof options / sizeof *options;
        while (option < count && !weir_terminal_is(name, options[option].name))
            option++;
        if (option == count) return wrong("unknown argument", name);
        if (!weir_terminal_option(argc, argv, &i, options[option].value)) return wrong("a value has to follow", name);
        if (options[option].value == &arguments->ask.admin) arguments->from = true;
    }
    if (arguments->from + (arguments->config != NULL) + (arguments->policy != NULL) > 1)
        return wrong("one of them is enough", "--from, -c, --policy");
    return -1;
}

/* ---- of a file ---- */

static void put_side(struct weir_buffer *out, const char *name, double share, const struct weir_policy *policy,
                     const struct weir_plan *plan, const struct weir_names *names) {
    weir_buffer_printf(out, "{\"side\":\"%s\",\"share\":", name);
    weir_buffer_double(out, share);
    weir_buffer_text(out, ",\"plan\":");
    weir_plan_write(plan, names, out);
    weir_buffer_text(out, ",\"budgets\":");
    weir_proxies_write_budgets(weir_policy_proxies(policy), names, out);
    weir_buffer_text(out, ",\"loads\":[],\"estimates\":[]}");
}

struct file_side {
    const char *name;
    double share;
    struct weir_policy *policy; /* NULL, or without a proxies part: none */
};

static enum weir_status write_sides(const char *path, const struct file_side *sides, int count,
                                    const struct weir_names *names, struct weir_buffer *out, struct weir_error *err) {
    bool first = true;
    weir_buffer_text(out, "{\"policy\":");
    weir_plan_write_text(path, strlen(path), out);
    weir_buffer_text(out, ",\"sides\":[");
    for (int i = 0; i < count; i++) {
        const struct weir_proxies *proxies = sides[i].policy == NULL ? NULL : weir_policy_proxies(sides[i].policy);
        if (proxies == NULL) continue;
        struct weir_plan *plan = weir_plan_of(proxies, weir_policy_version(sides[i].policy), names, 0);
        if (plan == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory");
        if (!first) weir_buffer_byte(out, ',');
        first = false;
        put_side(out, sides[i].name, sides[i].share, sides[i].policy, plan, names);
        weir_plan_unref(plan);
    }
    weir_buffer_text(out, "],\"followers\":[]}\n");
    return out->failed ? weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory") : WEIR_OK;
}

static enum weir_status of_policy(const char *path, struct weir_names *names, struct weir_buffer *out,
                                  struct weir_error *err) {
    struct file_side side = {"policy", 1, NULL};
    enum weir_status status = weir_policy_load(path, names, &side.policy, err);
    if (status == WEIR_OK) status = write_sides(path, &side, 1, names, out, err);
    weir_policy_unref(side.policy);
    return status;
}

static enum weir_status of_config(const char *path, struct weir_names *names, struct weir_buffer *out,
                                  struct weir_error *err) {
    struct weir_config *config = NULL;
    struct file_side sides[] = {{"policy", 1, NULL}, {"canary", 0, NULL}};
    enum weir_status status = weir_config_load(path, &config, err);
    if (status != WEIR_OK) return status;
    status = weir_policy_load(config->sampling.policy, names, &sides[0].policy, err);
    if (status == WEIR_OK)
        status = weir_policy_load_canary(config->sampling.canary_policy, names, &sides[1].policy, err);
    if (sides[1].policy != NULL) {
        sides[0].share = 1 - config->sampling.canary_share;
        sides[1].share = config->sampling.canary_share;
    }
    if (status == WEIR_OK) status = write_sides(config->sampling.policy, sides, 2, names, out, err);
    weir_policy_unref(sides[0].policy);
    weir_policy_unref(sides[1].policy);
    weir_config_free(config);
    return status;
}

/* ---- of a running Weir ---- */

static enum weir_status of_running(const struct weir_ask *ask, struct weir_buffer *out, struct weir_error *err) {
    long answer = 0;
    enum weir_status status = weir_ask(ask, "/policy", out, &answer, err);
    if (status != WEIR_OK || answer == 200) return status;
    size_t size = out->size;
    while (size > 0 && out->bytes[size - 1] == '\n')
        size--;
    return weir_fail(err, WEIR_INVALID, 0, false, "%s answers %ld: %.*s", ask->admin, answer,
                     size < 80 ? (int)size : 80, size == 0 ? "" : (const char *)out->bytes);
}

/* ---- */

static enum weir_status read_page(const struct arguments *arguments, struct weir_names *names, struct weir_buffer *page,
                                  struct weir_error *err) {
    if (arguments->policy != NULL) return of_policy(arguments->policy, names, page, err);
    if (arguments->config != NULL) return of_config(arguments->config, names, page, err);
    return of_running(&arguments->ask, page, err);
}

static enum weir_status show(const struct arguments *arguments, struct weir_names *names, struct weir_buffer *out,
                             struct weir_error *err) {
    struct weir_policy_view view = {.names = names};
    struct weir_buffer page = {0};
    const char *source = arguments->policy != NULL   ? arguments->policy
                         : arguments->config != NULL ? arguments->config
                                                     : arguments->ask.admin;
    enum weir_status status = read_page(arguments, names, &page, err);
    if (status == WEIR_OK) status = weir_policy_view_read(&view, page.bytes, page.size, err);
    if (status == WEIR_OK && arguments->json) {
        weir_buffer_put(out, page.bytes, page.size);
        if (page.bytes[page.size - 1] != '\n') weir_buffer_byte(out, '\n');
    } else if (status == WEIR_OK) {
        bool live = arguments->policy == NULL && arguments->config == NULL;
        bool colour = weir_terminal_of(stdout).colour && !arguments->no_colour;
        weir_policy_view_print(&view, source, (double)weir_unix_ns(&weir_clock_system) / 1e9, live, colour,
                               strcmp(nl_langinfo(CODESET), "UTF-8") == 0, out);
    }
    weir_policy_view_free(&view);
    weir_buffer_free(&page);
    return status;
}

int weir_policy_show_main(int argc, char **argv) {
    struct arguments arguments = {.ask.admin = WEIR_ASK_ADMIN};
    struct weir_buffer out = {0};
    struct weir_error err = {0};
    setlocale(LC_CTYPE, "");
    int exit_status = parse(argc, argv, &arguments);
    if (exit_status >= 0) return exit_status;
    struct weir_names *names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    enum weir_status status =
        names == NULL ? weir_fail(&err, WEIR_FULL, ENOMEM, true, "out of memory") : show(&arguments, names, &out, &err);
    if (status != WEIR_OK) fprintf(stderr, "weir policy show: %s\n", err.text);
    bool wrote =
        !out.failed && (out.size == 0 || fwrite(out.bytes, 1, out.size, stdout) == out.size) && fflush(stdout) == 0;
    if (!wrote && errno != EPIPE) fprintf(stderr, "weir policy show: stdout: %s\n", strerror(errno));
    weir_buffer_free(&out);
    weir_names_free(names);
    return status == WEIR_OK ? 0 : 1;
}
