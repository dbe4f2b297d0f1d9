#define _GNU_SOURCE /* qsort_r */
#include "collector/dialects/files_inside.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void weir_file_name(const char *text, size_t size, struct weir_buffer *out) {
    for (size_t i = 0; i < size; i++) {
        uint8_t c = (uint8_t)text[i];
        if (c >= 0x20 && c < 0x7f)
            weir_buffer_byte(out, c);
        else
            weir_buffer_printf(out, "\\x%02x", (unsigned)c);
    }
}

void weir_file_rate(double rate, struct weir_buffer *out) {
    char text[16];
    unsigned millionths = (unsigned)lround(weir_plan_round(rate) * 1e6);
    int size = snprintf(text, sizeof text, "%u.%06u", millionths / 1000000, millionths % 1000000);
    while (text[size - 1] == '0')
        size--;
    if (text[size - 1] == '.') size--;
    weir_buffer_put(out, text, (size_t)size);
}

void weir_file_head(const struct weir_file_source *source, const char *what, struct weir_buffer *out) {
    weir_buffer_text(out, "# What ");
    if (source->service[0] == 0) {
        weir_buffer_text(out, "services without a rate of their own sample");
    } else {
        weir_buffer_text(out, "service ");
        weir_file_name(source->service, strlen(source->service), out);
        weir_buffer_text(out, source->plan->rate.name != WEIR_NAME_NONE ? " samples"
                                                                        : " samples, which has the default's rates");
    }
    weir_buffer_printf(out, ": %s, version %016llx.\n# Made by Weir; what is changed here is lost.\n", what,
                       (unsigned long long)source->plan->version);
}

void weir_file_untold(const struct weir_file_source *source, struct weir_buffer *out) {
    for (uint32_t i = 0; i < source->plan->operation_count; i++) {
        const struct weir_plan_rate *row = &source->plan->operations[i];
        size_t size;
        const char *name = weir_names_text(source->names, row->name, &size);
        weir_buffer_text(out, "# Not told, since there is one rate for all: ");
        weir_file_name(name, size, out);
        weir_buffer_text(out, " at ");
        weir_file_rate(row->rate, out);
        weir_buffer_byte(out, '\n');
    }
}

static int by_name(const void *a, const void *b, void *names) {
    const struct weir_plan_rate *left = a, *right = b;
    return strcmp(weir_names_text(names, left->name, NULL), weir_names_text(names, right->name, NULL));
}

static void put_kind(enum weir_render_kind kind, const struct weir_file_source *source, struct weir_buffer *out) {
    switch (kind) {
    case WEIR_RENDER_NGINX:
    case WEIR_RENDER_NGINX_OTEL: weir_file_nginx(source, kind == WEIR_RENDER_NGINX_OTEL, out); break;
    case WEIR_RENDER_LINKERD1: weir_file_linkerd1(source, out); break;
    case WEIR_RENDER_ENVOY: weir_file_envoy(source, out); break;
    case WEIR_RENDER_OTEL_ENV: weir_file_otel_env(source, out); break;
    case WEIR_RENDER_KINDS: break;
    }
}

void weir_file_render(const struct weir_render_config *render, const struct weir_plan *plan,
                      const struct weir_names *names, struct weir_buffer *out) {
    uint32_t name = weir_names_find(names, render->service, strlen(render->service));
    struct weir_plan_service sorted = *(name == WEIR_NAME_NONE ? &plan->fallback : weir_plan_find(plan, name));
    size_t size = sorted.operation_count * sizeof *sorted.operations;
    struct weir_plan_rate *rows = malloc(size + 1);
    if (rows == NULL) {
        out->failed = true;
        return;
    }
    if (size > 0) memcpy(rows, sorted.operations, size);
    qsort_r(rows, sorted.operation_count, sizeof *rows, by_name, (void *)(uintptr_t)names);
    sorted.operations = rows;
    sorted.by_operation = NULL;
    put_kind(render->kind, &(struct weir_file_source){&sorted, names, render->service, render->ignore_incoming}, out);
    free(rows);
}
