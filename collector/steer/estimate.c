#include "collector/steer/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS = WEIR_ESTIMATE_SECONDS + 1 };

struct look {
    double exact, calls, variance; /* the counters as they stood */
};

struct watched {
    struct weir_proxies_service row; /* exact_* of it; nothing that it points to */
    struct look looks[LOOKS];        /* a ring */
    uint32_t count, next;
};

struct weir_estimates {
    struct watched *watched;
    uint32_t count;
};

struct weir_estimates *weir_estimates_new(void) {
    return calloc(1, sizeof(struct weir_estimates));
}

void weir_estimates_free(struct weir_estimates *estimates) {
    if (estimates == NULL) return;
    free(estimates->watched);
    free(estimates);
}

static bool same_counter(const struct weir_proxies_service *a, const struct weir_proxies_service *b) {
    if (a->rule.name != b->rule.name || strcmp(a->exact_family, b->exact_family) != 0 ||
        a->exact_label_count != b->exact_label_count)
        return false;
    for (uint32_t i = 0; i < a->exact_label_count; i++) {
        if (strcmp(a->exact_labels[i].name, b->exact_labels[i].name) != 0 ||
            strcmp(a->exact_labels[i].value, b->exact_labels[i].value) != 0)
            return false;
    }
    return true;
}

bool weir_estimates_set(struct weir_estimates *estimates, const struct weir_proxies *proxies) {
    uint32_t rows = proxies == NULL ? 0 : proxies->service_count, count = 0;
    struct watched *made = calloc(rows + 1u, sizeof *made);
    if (made == NULL) return false;
    for (uint32_t i = 0; i < rows; i++) {
        const struct weir_proxies_service *row = &proxies->services[i];
        if (row->exact_family[0] == 0) continue;
        struct watched *watched = &made[count++];
        for (uint32_t k = 0; k < estimates->count; k++) {
            if (same_counter(&estimates->watched[k].row, row)) *watched = estimates->watched[k];
        }
        watched->row = *row;
        watched->row.nodes = NULL;
        watched->row.operations = NULL;
    }
    free(estimates->watched);
    estimates->watched = made;
    estimates->count = count;
    return true;
}

/* ---- looking ---- */

enum { EXACT, CALLS, VARIANCE, SUMS };

/* What is asked for one service. Requests that it served are its server spans. */
struct question {
    struct weir_label_match exact[4], spans[2];
};

static void ask(const struct watched *watched, const struct weir_names *names, struct question *question,
                struct weir_sum sums[SUMS]) {
    const struct weir_proxies_service *row = &watched->row;
    for (uint32_t i = 0; i < row->exact_label_count; i++)
        question->exact[i] = (struct weir_label_match){row->exact_labels[i].name, row->exact_labels[i].value};
    question->spans[0] = (struct weir_label_match){"service", weir_names_text(names, row->rule.name, NULL)};
    question->spans[1] = (struct weir_label_match){"span_kind", "SPAN_KIND_SERVER"};
    sums[EXACT] = (struct weir_sum){
        .family = row->exact_family, .labels = question->exact, .label_count = row->exact_label_count};
    sums[CALLS] =
        (struct weir_sum){.family = "traces_spanmetrics_calls_total", .labels = question->spans, .label_count = 2};
    sums[VARIANCE] = (struct weir_sum){
        .family = "weir_spanmetrics_calls_variance_total", .labels = question->spans, .label_count = 2};
}

static void take_look(struct watched *watched, const struct weir_sum sums[SUMS]) {
    if (!sums[EXACT].found) return;
    struct look look = {sums[EXACT].value, sums[CALLS].value, sums[VARIANCE].value};
    const struct look *last = &watched->looks[(watched->next + LOOKS - 1) % LOOKS];
    /* Series that were idle for long are forgotten, and a sum falls: what was gathered says nothing any more. */
    if (watched->count > 0 && (look.exact < last->exact || look.calls < last->calls)) watched->count = 0;
    watched->looks[watched->next] = look;
    watched->next = (watched->next + 1) % LOOKS;
    if (watched->count < LOOKS) watched->count++;
}

void weir_estimates_look(struct weir_estimates *estimates, struct weir_aggregate *aggregate,
                         const struct weir_names *names) {
    uint32_t count = estimates->count;
    struct question *questions = malloc(count * sizeof *questions);
    struct weir_sum *sums = malloc(count * SUMS * sizeof *sums);
    if (count > 0 && questions != NULL && sums != NULL) {
        for (uint32_t i = 0; i < count; i++)
            ask(&estimates->watched[i], names, &questions[i], &sums[i * SUMS]);
        weir_aggregate_sums(aggregate, sums, count * SUMS);
        for (uint32_t i = 0; i < count; i++)
            take_look(&estimates->watched[i], &sums[i * SUMS]);
    }
    free(questions);
    free(sums);
}

static const struct look *look_ago(const struct watched *watched, uint32_t ago) {
    return &watched->looks[(watched->next + LOOKS - 1 - ago) % LOOKS];
}

uint32_t weir_estimates_count(const struct weir_estimates *estimates) {
    return estimates->count;
}

struct weir_estimate weir_estimates_at(const struct weir_estimates *estimates, uint32_t i) {
    const struct watched *watched = &estimates->watched[i];
    struct weir_estimate made = {.service = watched->row.rule.name, .ratio = -1};
    if (watched->count < 2) return made;
    const struct look *now = look_ago(watched, 0), *then = look_ago(watched, watched->count - 1);
    double variance = now->variance - then->variance;
    made.requests = now->exact - then->exact;
    if (!(made.requests > 0) || !(now->calls > 0)) return made;
    made.ratio = (now->calls - then->calls) / made.requests;
    made.error = sqrt(variance > 0 ? variance : 0) / made.requests;
    return made;
}

double weir_estimates_grown(const struct weir_estimates *estimates, uint32_t service) {
    for (uint32_t i = 0; i < estimates->count; i++) {
        const struct watched *watched = &estimates->watched[i];
        if (watched->row.rule.name != service) continue;
        if (watched->count < 2) return -1;
        return look_ago(watched, 0)->exact - look_ago(watched, 1)->exact;
    }
    return -1;
}
