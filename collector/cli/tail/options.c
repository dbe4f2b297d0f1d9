#include "collector/cli/tail/options.h"
#include "collector/config/values.h"

#include <string.h>

const char weir_tail_usage[] =
    "usage: weir tail [OPTION...]\n"
    "\n"
    "Traces as a collector decides them, drawn as trees with times, until Ctrl-C. Needs `keep:` in its sampling "
    "policy:\n"
    "without it spans are not held back, and nothing is decided.\n"
    "  --admin URL         the collector's admin port; default " WEIR_TAIL_ADMIN "\n"
    "  --service S         only traces with a span of this service\n"
    "  --rule R            only what this rule decided; \"none\": no rule matched, \"forced\": the caller asked for "
    "it\n"
    "  --errors            only traces with an error\n"
    "  --min-duration D    only traces that took at least so long: 200ms, 1.5s\n"
    "  --dropped           also traces that are left out\n"
    "  --limit N           end after N traces\n"
    "  --spans N           at most N lines of spans a trace, errors and the longest first; 0 = all; default 40\n"
    "  --no-color          as NO_COLOR=1, and as when stdout is no terminal\n"
    "  --ascii             no line drawing; the default where the locale is not UTF-8\n"
    "  --json              the stream as it comes (docs/tail.md), instead of drawings\n"
    "  --read FILE         draw such a stream from a file, - for stdin; filters are not applied again\n"
    "  --token-file FILE   a bearer token, where the admin port asks for one\n"
    "  --ca FILE           certificates to trust for https://\n"
    "\n"
    "  \u25cf 14:02:11.123 TRACE-ID 312ms 5 spans RULE \u00d71 root    \u25cf kept, \u25cb left out; \u00d7 its "
    "weight; why it was decided\n"
    "  edge GET /checkout          312ms  \u2501\u2501\u2501\u2501\u2501\u2501\u2501     then: root ended, wait, size, "
    "memory, drain\n"
    "  \u2514\u2500payments POST /charge  \u2717  250ms   \u2501\u2501\u2501\u2501\u2501      \u2717 an error; ~ "
    "moved: its clock disagrees with its parent's\n"
    "\n"
    "The width is that of COLUMNS or of the terminal, else 80. Exit status: 0, 1 when the stream broke, 2 for wrong "
    "usage.\n";

enum kind { TEXT, FLAG, COUNT };
struct option {
    const char *name;
    enum kind kind;
    size_t place;
};
#define PLACE(member) offsetof(struct weir_tail_options, member)
static const struct option options_table[] = {
    {"--admin", TEXT, PLACE(admin)},
    {"--service", TEXT, PLACE(service)},
    {"--rule", TEXT, PLACE(rule)},
    {"--errors", FLAG, PLACE(errors)},
    {"--min-duration", TEXT, PLACE(min_duration)},
    {"--dropped", FLAG, PLACE(dropped)},
    {"--limit", COUNT, PLACE(limit)},
    {"--spans", COUNT, PLACE(spans)},
    {"--no-color", FLAG, PLACE(no_colour)},
    {"--no-colour", FLAG, PLACE(no_colour)},
    {"--ascii", FLAG, PLACE(ascii)},
    {"--json", FLAG, PLACE(json)},
    {"--read", TEXT, PLACE(read)},
    {"--token-file", TEXT, PLACE(token_file)},
    {"--ca", TEXT, PLACE(ca)},
};

static const struct option *find(const char *argument, const char **value) {
    size_t size = strcspn(argument, "=");
    *value = argument[size] == '=' ? argument + size + 1 : NULL;
    for (size_t i = 0; i < sizeof options_table / sizeof options_table[0]; i++) {
        const struct option *option = &options_table[i];
        if (strlen(option->name) == size && memcmp(option->name, argument, size) == 0) return option;
    }
    return NULL;
}

static enum weir_status set(struct weir_tail_options *options, const struct option *option, const char *value,
                            struct weir_error *err) {
    char *place = (char *)options + option->place;
    if (option->kind == TEXT) {
        memcpy(place, &value, sizeof value);
        return WEIR_OK;
    }
    int64_t count;
    if (!weir_value_integer(value, &count) || count < 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "%s: a whole number is needed, not %s", option->name, value);
    uint64_t number = (uint64_t)count;
    memcpy(place, &number, sizeof number);
    return WEIR_OK;
}

static enum weir_status check(const struct weir_tail_options *options, struct weir_error *err) {
    uint64_t ns;
    if (options->min_duration != NULL && !weir_value_duration(options->min_duration, &ns))
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "--min-duration: a duration with its unit is needed, as in 200ms, not %s",
                         options->min_duration);
    bool filters = options->service != NULL || options->rule != NULL || options->min_duration != NULL ||
                   options->errors || options->dropped;
    if (options->read != NULL && (filters || options->admin != NULL))
        return weir_fail(err, WEIR_INVALID, 0, false,
                         "--read: filters are applied by the collector, not to what was already read from it");
    return WEIR_OK;
}

enum weir_status weir_tail_options_parse(int argc, char **argv, struct weir_tail_options *options, bool *help,
                                         struct weir_error *err) {
    *options = (struct weir_tail_options){.spans = WEIR_TAIL_SPANS};
    *help = false;
    for (int i = 1; i < argc; i++) {
        const char *value;
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            *help = true;
            return WEIR_OK;
        }
        const struct option *option = find(argv[i], &value);
        if (option == NULL) return weir_fail(err, WEIR_INVALID, 0, false, "%s: unknown argument", argv[i]);
        if (option->kind == FLAG) {
            if (value != NULL) return weir_fail(err, WEIR_INVALID, 0, false, "%s: takes no value", option->name);
            *(bool *)((char *)options + option->place) = true;
            continue;
        }
        if (value == NULL && ++i < argc) value = argv[i];
        if (value == NULL) return weir_fail(err, WEIR_INVALID, 0, false, "%s: a value has to follow", option->name);
        enum weir_status status = set(options, option, value, err);
        if (status != WEIR_OK) return status;
    }
    return check(options, err);
}

/* RFC 3986 2.3: all but unreserved characters are written as %XX. */
static void put_argument(struct weir_buffer *out, char *before, const char *key, const char *value) {
    if (value == NULL) return;
    weir_buffer_byte(out, (uint8_t)*before);
    *before = '&';
    weir_buffer_printf(out, "%s=", key);
    for (const char *at = value; *at != 0; at++) {
        char c = *at;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                     c == '.' || c == '_' || c == '~';
        if (plain) {
            weir_buffer_byte(out, (uint8_t)c);
        } else {
            weir_buffer_printf(out, "%%%02X", (unsigned char)c);
        }
    }
}

void weir_tail_url(const struct weir_tail_options *options, struct weir_buffer *out) {
    const char *admin = options->admin != NULL ? options->admin : WEIR_TAIL_ADMIN;
    size_t size = strlen(admin);
    while (size > 0 && admin[size - 1] == '/')
        size--;
    if (strstr(admin, "://") == NULL) weir_buffer_text(out, "http://");
    weir_buffer_put(out, admin, size);
    weir_buffer_text(out, "/tail");
    char before = '?';
    put_argument(out, &before, "service", options->service);
    put_argument(out, &before, "rule", options->rule);
    put_argument(out, &before, "min_duration", options->min_duration);
    put_argument(out, &before, "errors", options->errors ? "true" : NULL);
    put_argument(out, &before, "dropped", options->dropped ? "true" : NULL);
    weir_buffer_byte(out, 0);
}
