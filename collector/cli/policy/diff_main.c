/* diff_main.c - `weir policy diff OLD NEW`. */
#include "collector/cli/columns.h"
#include "collector/cli/policy/diff.h"
#include "collector/cli/policy/policy.h"
#include "collector/cli/text.h"
#include "collector/config/values.h"
#include "collector/sample/plan_json.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20, NAME_COLUMNS = 28, WHAT_COLUMNS = 24, VALUE_COLUMNS = 12 };
enum { SAME, DIFFERENT, FAILED };

static const char usage[] = "usage: weir policy diff OLD NEW [--json]\n"
                            "\n"
                            "What proxies would be told differently by another sampling.yaml: rates,\n"
                            "floors, budgets, for each service and operation. What a service takes over\n"
                            "from the default counts as its own, so only what would change is listed.\n"
                            "\n"
                            "  --json   one JSON object\n"
                            "\n"
                            "Exit 0 when proxies are told the same, 1 when not, 2 for wrong usage or a\n"
                            "file that is wrong (as diff).\n";

struct page {
    const struct weir_names *names;
    struct weir_buffer out;
    bool json, unicode, first;
    bool fleet;
    uint32_t service; /* of the heading */
};

/* ---- text ---- */

static void put_value(const struct weir_change *change, bool after, char *text, size_t size) {
    double value = after ? change->after : change->before;
    struct weir_buffer out = {0};
    if (change->kind == WEIR_CHANGE_TEXT) {
        const char *own = after ? change->text_after : change->text_before;
        snprintf(text, size, "%s", own[0] != 0 ? own : "-");
        return;
    }
    if (isnan(value)) {
        snprintf(text, size, "-");
        return;
    }
    switch (change->kind) {
    case WEIR_CHANGE_SHARE: weir_column_share(&out, 0, value); break;
    case WEIR_CHANGE_BYTES: weir_column_bytes(&out, 0, value); break;
    case WEIR_CHANGE_SECONDS: {
        char duration[32];
        weir_value_print_duration((uint64_t)llround(value * 1e9), duration, sizeof duration);
        weir_buffer_text(&out, duration);
        break;
    }
    default: /* as it is written in the file */
        if (value >= 1000 && value < 1e15 && value == floor(value))
            weir_column_number(&out, 0, value);
        else
            weir_buffer_double(&out, value);
    }
    snprintf(text, size, "%.*s", (int)out.size, out.failed || out.size == 0 ? "" : (const char *)out.bytes);
    weir_buffer_free(&out);
}

static void put_heading(struct page *page, const struct weir_change *change) {
    if (!page->first && page->fleet == change->fleet && page->service == change->service) return;
    if (!page->first) weir_buffer_byte(&page->out, '\n');
    page->first = false;
    page->fleet = change->fleet;
    page->service = change->service;
    const char *name = change->fleet                       ? "(the fleet)"
                       : change->service == WEIR_NAME_NONE ? "(all others)"
                                                           : weir_names_text(page->names, change->service, NULL);
    weir_text_put(&page->out, name, 78, page->unicode);
    weir_buffer_byte(&page->out, '\n');
}

static void put_change(void *self, const struct weir_change *change) {
    struct page *page = self;
    char before[1100], after[1100];
    put_value(change, false, before, sizeof before);
    put_value(change, true, after, sizeof after);
    put_heading(page, change);
    weir_column_name(&page->out, change->operation == 0 ? "" : weir_names_text(page->names, change->operation, NULL), 2,
                     NAME_COLUMNS, page->unicode);
    weir_buffer_byte(&page->out, ' ');
    if (change->kind == WEIR_CHANGE_TEXT && strlen(before) + strlen(after) > 2 * VALUE_COLUMNS) {
        weir_buffer_printf(&page->out, "%s\n    - ", change->what);
        weir_text_put(&page->out, before, 74, page->unicode);
        weir_buffer_text(&page->out, "\n    + ");
        weir_text_put(&page->out, after, 74, page->unicode);
        weir_buffer_byte(&page->out, '\n');
        return;
    }
    weir_buffer_printf(&page->out, "%-*s", WHAT_COLUMNS, change->what);
    weir_column_text(&page->out, VALUE_COLUMNS, before);
    weir_buffer_printf(&page->out, " -> %s\n", after);
}

/* ---- JSON ---- */

static void put_json_text(struct weir_buffer *out, const char *key, const char *text, size_t size) {
    weir_buffer_printf(out, "\"%s\":", key);
    weir_plan_write_text(text, size, out);
}

static void put_json_value(struct weir_buffer *out, const char *key, const struct weir_change *change, bool after) {
    double value = after ? change->after : change->before;
    const char *text = after ? change->text_after : change->text_before;
    weir_buffer_printf(out, ",\"%s\":", key);
    if (change->kind == WEIR_CHANGE_TEXT && text[0] != 0)
        weir_plan_write_text(text, strlen(text), out);
    else if (change->kind == WEIR_CHANGE_TEXT || isnan(value))
        weir_buffer_text(out, "null");
    else
        weir_buffer_double(out, value);
}

static void put_json_change(void *self, const struct weir_change *change) {
    struct page *page = self;
    struct weir_buffer *out = &page->out;
    size_t size;
    const char *text;
    weir_buffer_text(out, page->first ? "{" : ",{");
    page->first = false;
    if (change->fleet) {
        weir_buffer_text(out, "\"fleet\":true,");
    } else {
        text = weir_names_text(page->names, change->service, &size);
        put_json_text(out, "service", text, size);
        weir_buffer_byte(out, ',');
    }
    if (change->operation != WEIR_NAME_NONE) {
        text = weir_names_text(page->names, change->operation, &size);
        put_json_text(out, "operation", text, size);
        weir_buffer_byte(out, ',');
    }
    put_json_text(out, "what", change->what, strlen(change->what));
    put_json_value(out, "old", change, false);
    put_json_value(out, "new", change, true);
    weir_buffer_byte(out, '}');
}

/* ---- */

static int wrong(const char *what, const char *argument) {
    fprintf(stderr, "weir policy diff: %s: %s\n\n%s", argument, what, usage);
    return FAILED;
}

static int compare(const char *const paths[2], struct page *page, struct weir_names *names) {
    struct weir_policy *policies[2] = {NULL, NULL};
    struct weir_error err = {0};
    enum weir_status status = WEIR_OK;
    uint32_t count = 0;
    bool no_memory = false;
    for (int f = 0; f < 2 && status == WEIR_OK; f++)
        status = weir_policy_load(paths[f], names, &policies[f], &err);
    if (status == WEIR_OK) {
        if (page->json) weir_buffer_text(&page->out, "{\"changes\":[");
        count = weir_policy_diff(weir_policy_proxies(policies[0]), weir_policy_proxies(policies[1]), names,
                                 page->json ? put_json_change : put_change, page, &no_memory);
        if (page->json) weir_buffer_printf(&page->out, "],\"count\":%u}\n", count);
    }
    weir_policy_unref(policies[0]);
    weir_policy_unref(policies[1]);
    if (status == WEIR_OK && !no_memory && !page->out.failed) return count == 0 ? SAME : DIFFERENT;
    fprintf(stderr, "weir policy diff: %s\n", status != WEIR_OK ? err.text : "out of memory");
    return FAILED;
}

int weir_policy_diff_main(int argc, char **argv) {
    struct page page = {.first = true};
    const char *paths[2] = {NULL, NULL};
    int path_count = 0;
    setlocale(LC_CTYPE, "");
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "-h") == 0 || strcmp(argv[i], "--help") == 0) {
            fputs(usage, stdout);
            return SAME;
        }
        if (strcmp(argv[i], "--json") == 0)
            page.json = true;
        else if (argv[i][0] == '-')
            return wrong("unknown argument", argv[i]);
        else if (path_count == 2)
            return wrong("two files are compared", argv[i]);
        else
            paths[path_count++] = argv[i];
    }
    if (path_count < 2) return wrong("two files are needed", "OLD NEW");
    struct weir_names *names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    if (names == NULL) {
        fputs("weir policy diff: out of memory\n", stderr);
        return FAILED;
    }
    page.names = names;
    page.unicode = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    int result = compare(paths, &page, names);
    size_t size = result == FAILED ? 0 : page.out.size;
    bool wrote = (size == 0 || fwrite(page.out.bytes, 1, size, stdout) == size) && fflush(stdout) == 0;
    if (!wrote && errno != EPIPE) {
        fprintf(stderr, "weir policy diff: stdout: %s\n", strerror(errno));
        result = FAILED;
    }
    weir_buffer_free(&page.out);
    weir_names_free(names);
    return result;
}
