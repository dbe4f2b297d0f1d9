#include "collector/cli/import/import.h"
#include "collector/cli/terminal.h"
#include "collector/config/values.h"
#include "collector/config/yaml.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char usage[] = "usage: weir import FILE [--from otel|jaeger|refinery] [-o sampling.yaml]\n"
                            "\n"
                            "Turns the rules of another tail sampler into a sampling.yaml, on stdout or -o:\n"
                            "  otel      the OpenTelemetry Collector's tail_sampling policies: a whole\n"
                            "            collector configuration, or the processor's part of it\n"
                            "  jaeger    a strategies file (JSON), which tells clients what to send\n"
                            "  refinery  Refinery's rules, RulesVersion 2 (YAML)\n"
                            "FILE may be - for stdin. What has no equal stands in the file as a comment,\n"
                            "at its place, and is told on stderr. docs/import.md has the tables.\n"
                            "\n"
                            "  --from KIND        what FILE is; without it, it is seen by its keys\n"
                            "  -o PATH            write there; a file that is there stays unless --force\n"
                            "  --part NAME        which of several: a processor (tail_sampling/east) or\n"
                            "                     an environment of Refinery (default: __default__)\n"
                            "  --trace-spans N    spans of a usual trace, to turn limits in spans a\n"
                            "                     second into traces a second (default: 10)\n"
                            "  --trace-bytes N    the same for bytes (default: 5000)\n"
                            "  --strict           exit 3 when something was left out or taken roughly\n"
                            "  --force            overwrite PATH\n"
                            "\n"
                            "  weir import collector.yaml -o sampling.yaml && weir check\n"
                            "\n"
                            "Exit 0, or 1 and file:line: reason, or 2 for wrong usage, or 3 (--strict).\n";

struct arguments {
    const char *path, *out;
    bool strict, force;
    struct weir_import_options options;
};

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir import: %s: %s\n\n%s", argument, what, usage);
    return 2;
}

static bool read_kind(const char *text, enum weir_import_from *from) {
    for (int i = 1; i < 4; i++) {
        if (strcmp(text, weir_import_names[i]) == 0) *from = (enum weir_import_from)i;
    }
    return *from != WEIR_IMPORT_GUESS;
}

/* -1 to go on, or an exit status. */
static int parse(int argc, char **argv, struct arguments *arguments) {
    *arguments = (struct arguments){.options = {.trace_spans = 10, .trace_bytes = 5000}};
    struct weir_import_options *options = &arguments->options;
    for (int i = 1; i < argc; i++) {
        const char *name = argv[i], *value;
        if (strcmp(name, "-h") == 0 || strcmp(name, "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        }
        if (strcmp(name, "--strict") == 0) {
            arguments->strict = true;
        } else if (strcmp(name, "--force") == 0) {
            arguments->force = true;
        } else if (name[0] != '-' || name[1] == 0) {
            if (arguments->path != NULL) return wrong("one file at a time", name);
            arguments->path = name;
        } else if (!weir_terminal_option(argc, argv, &i, &value)) {
            return wrong("a value has to follow", name);
        } else if (weir_terminal_is(name, "--from")) {
            if (!read_kind(value, &options->from)) return wrong("neither otel nor jaeger nor refinery", value);
        } else if (weir_terminal_is(name, "-o") || weir_terminal_is(name, "--output")) {
            arguments->out = value;
        } else if (weir_terminal_is(name, "--part")) {
            options->part = value;
        } else if (weir_terminal_is(name, "--trace-spans") || weir_terminal_is(name, "--trace-bytes")) {
            double *number = name[8] == 's' ? &options->trace_spans : &options->trace_bytes;
            if (!weir_value_number(value, number) || !(*number >= 1) || *number > 1e12)
                return wrong("not a number of 1 or more", value);
        } else {
            return wrong("unknown argument", name);
        }
    }
    if (arguments->path == NULL) {
        fprintf(stderr, "weir import: no file\n\n%s", usage);
        return 2;
    }
    return -1;
}

static int fail(const char *path) {
    fprintf(stderr, "weir import: %s: %s\n", path, strerror(errno));
    return 1;
}

static int write_out(const struct arguments *arguments, const struct weir_buffer *text) {
    const char *path = arguments->out;
    if (path == NULL || strcmp(path, "-") == 0) {
        if (fwrite(text->bytes, 1, text->size, stdout) == text->size && fflush(stdout) == 0) return 0;
        return fail("stdout");
    }
    FILE *file = fopen(path, arguments->force ? "we" : "wex");
    if (file == NULL && errno == EEXIST) {
        fprintf(stderr, "weir import: %s: is there already; --force overwrites it\n", path);
        return 1;
    }
    if (file == NULL) return fail(path);
    bool wrote = fwrite(text->bytes, 1, text->size, file) == text->size;
    return fclose(file) == 0 && wrote ? 0 : fail(path);
}

/* The kind in colour, long lines folded. */
static void print_notes(const struct weir_import_result *result) {
    struct weir_terminal terminal = weir_terminal_of(stderr);
    const char *at = (const char *)result->notes.bytes, *stop = at + result->notes.size;
    for (const char *end; at < stop; at = end + 1) {
        end = memchr(at, '\n', (size_t)(stop - at));
        char line[1200];
        snprintf(line, sizeof line, "%.*s", (int)(end - at), at);
        const char *left = strstr(line, ": left out: "), *rough = strstr(line, ": roughly: ");
        bool is_left = left != NULL && (rough == NULL || left < rough);
        const char *kind = is_left ? left + 2 : rough == NULL ? NULL : rough + 2;
        weir_terminal_fold(&terminal, 2, line, kind,
                           kind == NULL ? 0
                           : is_left    ? 8
                                        : 7,
                           is_left ? WEIR_TERMINAL_RED : WEIR_TERMINAL_YELLOW);
    }
    fprintf(stderr, "%s: %u rule%s%s%s", weir_import_names[result->from], result->rules, result->rules == 1 ? "" : "s",
            "", "");
    if (result->left_out + result->rough == 0) {
        fputs("; nothing is left out\n", stderr);
    } else {
        fprintf(stderr, "; %u left out, %u taken roughly (see above, and the comments)\n", result->left_out,
                result->rough);
    }
}

int weir_import_main(int argc, char **argv) {
    struct arguments arguments;
    int status = parse(argc, argv, &arguments);
    if (status >= 0) return status;
    struct weir_error err = {0};
    struct weir_import_result result = {0};
    uint8_t *bytes = NULL;
    size_t size = 0;
    const char *path = strcmp(arguments.path, "-") == 0 ? "/dev/stdin" : arguments.path;
    if (weir_yaml_read(path, &bytes, &size, &err) != WEIR_OK ||
        weir_import(arguments.path, bytes, size, &arguments.options, &result, &err) != WEIR_OK) {
        fprintf(stderr, "weir import: %s\n", err.text);
        status = 1;
    } else {
        status = write_out(&arguments, &result.out);
        if (status == 0) print_notes(&result);
        if (status == 0 && arguments.strict && result.left_out + result.rough > 0) status = 3;
    }
    free(bytes);
    weir_import_free(&result);
    return status;
}
