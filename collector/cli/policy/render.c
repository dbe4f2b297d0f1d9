#include "collector/cli/policy/policy.h"

#include "collector/cli/terminal.h"
#include "collector/config/lists.h"
#include "collector/core/replace.h"
#include "collector/dialects/files.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
    "usage: weir policy render --for KIND [--policy FILE | -c FILE | --from URL] [OPTION...]\n"
    "\n"
    "Prints what a service is told, as a file for proxies that only read files:\n"
    "  nginx       an include for http { }: decides by location, consistently with everybody else\n"
    "  nginx-otel  the same for NGINX with its OpenTelemetry module\n"
    "  linkerd1    Linkerd 1's telemeter io.l5d.zipkin\n"
    "  envoy       the runtime of an Envoy, read again whenever another file is moved there\n"
    "  otel-env    OTEL_TRACES_SAMPLER for OpenTelemetry SDKs\n"
    "\n"
    "  --policy FILE      the policy (sampling.yaml)\n"
    "  -c FILE            the configuration that names one; without any of the three, weir.yaml\n"
    "  --from URL         the admin port of a Weir that runs, or --admin URL: what it tells now\n"
    "  --service NAME     whose rates; without it, those of `default`\n"
    "  --incoming ignore  of nginx: callers are strangers, and must not decide what is traced\n"
    "  --out FILE         replace FILE at once, where it is another; else to stdout\n"
    "  --token-file FILE  with the token that the admin port asks for\n"
    "  --ca FILE          authorities to check an https:// address by\n"
    "\n"
    "Where a policy has a budget, what is told hangs on the load: a file alone does not know it, --from does, and\n"
    "`render:` in weir.yaml keeps files as it changes (docs/configuration.md).\n"
    "Exit 0, or 1 and what is wrong on stderr, or 2 for wrong usage.\n";

struct arguments {
    struct weir_render_config render; /* kind, service, incoming */
    const char *policy, *config, *out;
    struct weir_ask ask; /* admin NULL: not asked for */
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir policy render: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

static bool kind_of(const char *name, enum weir_render_kind *kind) {
    for (int i = 0; i < WEIR_RENDER_KINDS; i++) {
        if (strcmp(name, weir_render_names[i]) != 0) continue;
        *kind = (enum weir_render_kind)i;
        return true;
    }
    return false;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    *arguments = (struct arguments){0};
    const char *kind = NULL, *service = "", *incoming = "honour";
    const struct {
        const char *name;
        const char **value;
    } options[] = {{"--for", &kind},
                   {"--policy", &arguments->policy},
                   {"-c", &arguments->config},
                   {"--config", &arguments->config},
                   {"--from", &arguments->ask.admin},
                   {"--admin", &arguments->ask.admin}, /* as all others have it */
                   {"--service", &service},
                   {"--incoming", &incoming},
                   {"--out", &arguments->out},
                   {"-o", &arguments->out},
                   {"--token-file", &arguments->ask.token_file},
                   {"--ca", &arguments->ask.ca}};
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        size_t option = 0, count = sizeof options / sizeof *options;
        while (option < count && !weir_terminal_is(name, options[option].name))
            option++;
        if (option == count) return wrong("unknown argument", name);
        if (!weir_terminal_option(argc, argv, &i, &value)) return wrong("a value has to follow", name);
        *options[option].value = value;
    }
    if (kind == NULL) return wrong("for whom? nginx, nginx-otel, linkerd1, envoy or otel-env", "--for");
    if (!kind_of(kind, &arguments->render.kind))
        return wrong("neither nginx nor nginx-otel, linkerd1, envoy, otel-env", kind);
    arguments->render.ignore_incoming = strcmp(incoming, "ignore") == 0;
    if (!arguments->render.ignore_incoming && strcmp(incoming, "honour") != 0)
        return wrong("neither honour nor ignore", incoming);
    if (arguments->render.ignore_incoming && arguments->render.kind != WEIR_RENDER_NGINX)
        return wrong("is for nginx only", "--incoming");
    if ((size_t)snprintf(arguments->render.service, sizeof arguments->render.service, "%s", service) >=
        sizeof arguments->render.service)
        return wrong("longer than a name is", "--service");
    if ((arguments->policy != NULL) + (arguments->config != NULL) + (arguments->ask.admin != NULL) > 1)
        return wrong("one of them is enough", "--from, -c, --policy");
    if (arguments->config == NULL) arguments->config = "weir.yaml";
    return -1;
}

static int write_out(const char *path, const struct weir_buffer *text) {
    struct weir_error err = {0};
    if (path == NULL) {
        if (fwrite(text->bytes, 1, text->size, stdout) == text->size && fflush(stdout) == 0) return 0;
        if (errno != EPIPE) fprintf(stderr, "weir policy render: stdout: %s\n", strerror(errno));
        return 1;
    }
    if (weir_file_has(path, text->bytes, text->size) ||
        weir_file_replace(path, text->bytes, text->size, &err) == WEIR_OK)
        return 0;
    fprintf(stderr, "weir policy render: %s\n", err.text);
    return 1;
}

static int render(const struct arguments *arguments, const struct weir_policy_file *file) {
    struct weir_buffer out = {0};
    if (file->plan == NULL) {
        fprintf(stderr, "weir policy render: %s: has no `proxies:`, so nobody is told anything\n", file->path);
        return 1;
    }
    weir_file_render(&arguments->render, file->plan, file->names, &out);
    int status = 1;
    if (out.failed)
        fputs("weir policy render: out of memory\n", stderr);
    else
        status = write_out(arguments->out, &out);
    weir_buffer_free(&out);
    return status;
}

int weir_policy_render_main(int argc, char **argv) {
    struct arguments arguments;
    struct weir_policy_file file = {0};
    struct weir_error err = {0};
    int status = parse(argc, argv, &arguments);
    if (status >= 0) return status;
    enum weir_status got = arguments.ask.admin != NULL
                               ? weir_policy_file_fetch(&file, &arguments.ask, &err)
                               : weir_policy_file_read(&file, arguments.policy, arguments.config, &err);
    if (got != WEIR_OK) {
        fprintf(stderr, "weir policy render: %s\n", err.text);
        status = 1;
    } else {
        status = render(&arguments, &file);
    }
    weir_policy_file_free(&file);
    return status;
}
