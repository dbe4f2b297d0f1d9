/* The plan of a Weir that runs, made again of its /policy. Rows come there in the order of what they send; here by
 * name, so that the same rates make the same file. */
#include "collector/cli/policy/policy.h"

#include "collector/cli/policy/view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static enum weir_status fetch(const struct weir_ask *ask, struct weir_policy_view *view, struct weir_error *err) {
    struct weir_buffer page = {0};
    long answer = 0;
    enum weir_status status = weir_ask(ask, "/policy", &page, &answer, err);
    if (status == WEIR_OK && answer != 200)
        status = weir_fail(err, WEIR_INVALID, 0, false, "%s answers %ld", ask->admin, answer);
    if (status == WEIR_OK) status = weir_policy_view_read(view, page.bytes, page.size, err);
    weir_buffer_free(&page);
    return status;
}

static struct weir_plan_rate rate_of(const struct weir_view_row *row) {
    return (struct weir_plan_rate){.name = row->operation == WEIR_NAME_NONE ? row->service : row->name,
                                   .operation = row->operation,
                                   .rate = row->rate};
}

/* A service's own row is in front of its operations. */
static struct weir_plan *plan_of(const struct weir_view_side *side, const struct weir_names *names) {
    struct weir_plan_rate *rates = calloc(side->count + 1u, sizeof *rates);
    struct weir_plan_service *services = calloc(side->count + 1u, sizeof *services), *service = NULL;
    struct weir_plan_service fallback = {.max_traces_per_second = -1};
    struct weir_plan *plan = NULL;
    uint32_t count = 0, used = 0;
    for (uint32_t i = 0; rates != NULL && services != NULL && i < side->count; i++) {
        const struct weir_view_row *row = &side->rows[i];
        if (row->operation == WEIR_NAME_NONE)
            service = !row->told ? NULL : row->service == WEIR_NAME_NONE ? &fallback : &services[count++];
        if (service == NULL || !row->told) continue;
        if (row->operation != WEIR_NAME_NONE) {
            rates[used++] = rate_of(row);
            service->operation_count++;
            continue;
        }
        *service = (struct weir_plan_service){
            .rate = rate_of(row),
            .max_traces_per_second = row->limit,
            .batching = {(uint32_t)row->min_flush_spans, (uint64_t)(row->flush_interval * 1e9)},
            .operations = &rates[used],
        };
    }
    if (rates != NULL && services != NULL) plan = weir_plan_new(names, 0, &fallback, services, count);
    free(rates);
    free(services);
    return plan;
}

enum weir_status weir_policy_file_fetch(struct weir_policy_file *file, const struct weir_ask *ask,
                                        struct weir_error *err) {
    enum { NAMES_MAX = 200000, NAMES_BYTES_MAX = 32 << 20 };
    snprintf(file->path, sizeof file->path, "%s", ask->admin);
    file->names = weir_names_new(NAMES_MAX, NAMES_BYTES_MAX);
    if (file->names == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "%s", ask->admin);
    struct weir_policy_view view = {.names = file->names};
    enum weir_status status = fetch(ask, &view, err);
    if (status == WEIR_OK && view.side_count > 0) {
        file->plan = plan_of(&view.sides[0], file->names);
        if (file->plan == NULL) status = weir_fail(err, WEIR_FULL, ENOMEM, false, "%s", ask->admin);
    }
    weir_policy_view_free(&view);
    return status;
}
