#include "collector/emit/truth.h"

#include "collector/core/buffer.h"
#include "collector/core/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const uint64_t weir_emit_bounds_ns[WEIR_EMIT_BOUNDS] = {
    1 * WEIR_MS,   2500 * WEIR_US, 5 * WEIR_MS,   10 * WEIR_MS, 25 * WEIR_MS,   50 * WEIR_MS, 100 * WEIR_MS,
    250 * WEIR_MS, 500 * WEIR_MS,  750 * WEIR_MS, 1 * WEIR_S,   2500 * WEIR_MS, 5 * WEIR_S,   10 * WEIR_S};

enum weir_status weir_emit_truth_init(struct weir_emit_truth *truth, const struct weir_emit_mesh *mesh,
                                      struct weir_error *err) {
    memset(truth, 0, sizeof *truth);
    truth->mesh = mesh;
    truth->operations = calloc(mesh->operation_count, sizeof *truth->operations);
    truth->edges = calloc(mesh->edge_count + 1, sizeof *truth->edges);
    if (truth->operations != NULL && truth->edges != NULL) return WEIR_OK;
    weir_emit_truth_free(truth);
    return weir_fail(err, WEIR_FULL, 0, false, "no memory for the totals");
}

void weir_emit_truth_free(struct weir_emit_truth *truth) {
    free(truth->operations);
    free(truth->edges);
    memset(truth, 0, sizeof *truth);
}

static void put_seconds(struct weir_buffer *out, uint64_t ns) {
    weir_buffer_printf(out, "%llu.%09llu", (unsigned long long)(ns / WEIR_S), (unsigned long long)(ns % WEIR_S));
}

static void put_operation(struct weir_buffer *out, const struct weir_emit_mesh *mesh, uint32_t index,
                          const struct weir_emit_totals *totals) {
    const struct weir_emit_operation *operation = &mesh->operations[index];
    char name[64];
    weir_emit_operation_name(operation, name, sizeof name);
    weir_buffer_printf(out, "    {\"service\": \"%s\", \"operation\": \"%s\", \"kind\": \"%s\", ",
                       mesh->names[operation->service], name, operation->client ? "client" : "server");
    if (operation->client) weir_buffer_printf(out, "\"peer\": \"%s\", ", operation->peer);
    weir_buffer_printf(out, "\"spans\": %llu, \"errors\": %llu, \"seconds\": ", (unsigned long long)totals->spans,
                       (unsigned long long)totals->errors);
    put_seconds(out, totals->ns);
    weir_buffer_text(out, ", \"buckets\": [");
    for (uint32_t i = 0; i <= WEIR_EMIT_BOUNDS; i++)
        weir_buffer_printf(out, "%s%llu", i > 0 ? ", " : "", (unsigned long long)totals->buckets[i]);
    weir_buffer_text(out, "]}");
}

static void put_edge(struct weir_buffer *out, const struct weir_emit_mesh *mesh, uint32_t index,
                     const struct weir_emit_edge_totals *totals) {
    const struct weir_emit_edge *edge = &mesh->edges[index];
    weir_buffer_printf(
        out, "    {\"client\": \"%s\", \"server\": \"%s\", \"requests\": %llu, \"errors\": %llu, \"client_seconds\": ",
        mesh->names[edge->client], mesh->names[edge->server], (unsigned long long)totals->requests,
        (unsigned long long)totals->errors);
    put_seconds(out, totals->client_ns);
    weir_buffer_text(out, ", \"server_seconds\": ");
    put_seconds(out, totals->server_ns);
    weir_buffer_byte(out, '}');
}

static void put_truth(struct weir_buffer *out, const struct weir_emit_truth *truth,
                      const struct weir_emit_options *options) {
    weir_buffer_printf(out,
                       "{\n  \"seed\": %llu,\n  \"traces\": %llu,\n  \"spans\": %llu,\n  \"sampled_traces\": %llu,\n"
                       "  \"sampled_spans\": %llu,\n  \"latency_bounds_seconds\": [",
                       (unsigned long long)options->seed, (unsigned long long)truth->traces,
                       (unsigned long long)truth->spans, (unsigned long long)truth->sampled_traces,
                       (unsigned long long)truth->sampled_spans);
    for (uint32_t i = 0; i < WEIR_EMIT_BOUNDS; i++) {
        if (i > 0) weir_buffer_text(out, ", ");
        weir_buffer_double(out, (double)weir_emit_bounds_ns[i] / 1e9);
    }
    weir_buffer_text(out, "],\n  \"operations\": [");
    const char *between = "\n";
    for (uint32_t i = 0; i < truth->mesh->operation_count; i++) {
        if (truth->operations[i].spans == 0) continue;
        weir_buffer_text(out, between);
        put_operation(out, truth->mesh, i, &truth->operations[i]);
        between = ",\n";
    }
    weir_buffer_text(out, "\n  ],\n  \"edges\": [");
    between = "\n";
    for (uint32_t i = 0; i < truth->mesh->edge_count; i++) {
        if (truth->edges[i].requests == 0) continue;
        weir_buffer_text(out, between);
        put_edge(out, truth->mesh, i, &truth->edges[i]);
        between = ",\n";
    }
    weir_buffer_text(out, "\n  ]\n}\n");
}

enum weir_status weir_emit_truth_write(const struct weir_emit_truth *truth, const struct weir_emit_options *options,
                                       struct weir_error *err) {
    struct weir_buffer out = {0};
    put_truth(&out, truth, options);
    int failed = out.failed ? ENOMEM : 0;
    int fd = failed != 0 ? -1 : open(options->truth, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (failed == 0 && fd < 0) failed = errno;
    for (size_t wrote = 0; failed == 0 && wrote < out.size;) {
        ssize_t n = write(fd, out.bytes + wrote, out.size - wrote);
        if (n < 0 && errno != EINTR) failed = errno;
        if (n > 0) wrote += (size_t)n;
    }
    if (fd >= 0 && close(fd) != 0 && failed == 0) failed = errno;
    weir_buffer_free(&out);
    return failed == 0 ? WEIR_OK : weir_fail(err, WEIR_IO, failed, false, "--truth %s", options->truth);
}
