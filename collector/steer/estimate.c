#include "collector/steer/estimate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { LOOKS = WEIR_ESTIMATE_SECONDS + 1 };

/* Whoever sends by libweir_emit counts all requests by this; docs/emitter.md. */
static const char emitters_family[] = "emitter_requests_total";

struct look {
    double exact, calls, variance; /* the counters as they stood */
};

struct watched {
    uint32_t service;
    struct weir_proxies_service *row; /* of which exact_* counts; NULL: the counter of emitters */
    uint32_t *untraced;               /* operations at rate 0: emitters count their requests, and there are no spans */
    uint32_t untraced_count;
    struct look *looks; /* a ring of LOOKS; NULL until the counter was seen */
    uint32_t count, next;
};

struct weir_estimates {
    struct watched *watched; /* by rising service */
    uint32_t count;
};

struct weir_estimates *weir_estimates_new(void) {
    return calloc(1, sizeof(struct weir_estimates));
}

static void free_all(struct watched *watched, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        free(watched[i].row);
        free(watched[i].untraced);
        free(watched[i].looks);
    }
    free(watched);
}

void weir_estimates_free(struct weir_estimates *estimates) {
    if (estimates == NULL) return;
    free_all(estimates->watched, estimates->count);
    free(estimates);
}

/* ---- what is watched ---- */

static int by_service(const void *a, const void *b) {
    uint32_t left = ((const struct watched *)a)->service, right = ((const struct watched *)b)->service;
    return left < right ? -1 : left > right;
}

static struct watched *find(const struct weir_estimates *estimates, uint32_t service) {
    const struct watched key = {.service = service};
    return estimates->count == 0
               ? NULL
               : bsearch(&key, estimates->watched, estimates->count, sizeof *estimates->watched, by_service);
}

static bool same_series(const struct weir_proxies_service *a, const struct weir_proxies_service *b) {
    if (strcmp(a->exact_family, b->exact_family) != 0 || a->exact_label_count != b->exact_label_count) return false;
    for (uint32_t i = 0; i < a->exact_label_count; i++) {
        if (strcmp(a->exact_labels[i].name, b->exact_labels[i].name) != 0 ||
            strcmp(a->exact_labels[i].value, b->exact_labels[i].value) != 0)
            return false;
    }
    return true;
}

static bool same_counter(const struct watched *a, const struct watched *b) {
    if (a->row != NULL || b->row != NULL) return a->row != NULL && b->row != NULL && same_series(a->row, b->row);
    return a->untraced_count == b->untraced_count &&
           (a->untraced_count == 0 || memcmp(a->untraced, b->untraced, a->untraced_count * sizeof *a->untraced) == 0);
}

static bool watch_series(struct watched *watched, const struct weir_proxies_service *row) {
    watched->row = malloc(sizeof *watched->row);
    if (watched->row == NULL) return false;
    *watched->row = *row;
    watched->row->nodes = NULL;
    watched->row->operations = NULL;
    return true;
}

static bool is_zero(double rate) {
    return !(rate > 0) && !(rate < 0); /* below 0: not said */
}

static bool watch_emitters(struct watched *watched, const struct weir_proxies_service *row) {
    watched->untraced = malloc((row->operation_count + 1u) * sizeof *watched->untraced);
    if (watched->untraced == NULL) return false;
    for (uint32_t i = 0; i < row->operation_count; i++) {
        if (is_zero(row->operations[i].rate)) watched->untraced[watched->untraced_count++] = row->operations[i].name;
    }
    return true;
}

bool weir_estimates_set(struct weir_estimates *estimates, const struct weir_proxies *proxies) {
    uint32_t rows = proxies == NULL ? 0 : proxies->service_count, count = 0;
    struct watched *made = calloc(rows + 1u, sizeof *made);
    bool ok = made != NULL;
    for (uint32_t i = 0; ok && i < rows; i++) {
        const struct weir_proxies_service *row = &proxies->services[i];
        bool said = row->exact_family[0] != 0;
        if (!said && is_zero(row->rule.rate)) continue; /* of what it serves there are no spans */
        made[count].service = row->rule.name;
        ok = said ? watch_series(&made[count], row) : watch_emitters(&made[count], row);
        count++;
    }
    if (!ok) {
        if (made != NULL) free_all(made, count);
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        struct watched *before = find(estimates, made[i].service);
        if (before == NULL || !same_counter(before, &made[i])) continue;
        made[i].looks = before->looks, made[i].count = before->count, made[i].next = before->next;
        before->looks = NULL;
    }
    qsort(made, count, sizeof *made, by_service);
    free_all(estimates->watched, estimates->count);
    estimates->watched = made;
    estimates->count = count;
    return true;
}

/* ---- looking ---- */

enum { EXACT, CALLS, VARIANCE, SUMS /* and those of `untraced` behind them */ };
enum { LABELS_EACH = 4 + 2 + 2 };

struct questions {
    struct weir_sum *sums;
    struct weir_label_match *labels;
    uint32_t sum_count, label_count;
};

static void ask(struct questions *questions, const char *family, const struct weir_label_match *labels,
                uint32_t count) {
    struct weir_label_match *own = &questions->labels[questions->label_count];
    memcpy(own, labels, count * sizeof *own);
    questions->label_count += count;
    questions->sums[questions->sum_count++] = (struct weir_sum){.family = family, .labels = own, .label_count = count};
}

/* Requests that it served are its server spans. */
static void ask_of(struct questions *questions, const struct watched *watched, const struct weir_names *names) {
    const struct weir_proxies_service *row = watched->row;
    const struct weir_label_match service = {"service", weir_names_text(names, watched->service, NULL)};
    const struct weir_label_match spans[] = {service, {"span_kind", "SPAN_KIND_SERVER"}};
    if (row != NULL) {
        struct weir_label_match exact[4];
        for (uint32_t i = 0; i < row->exact_label_count; i++)
            exact[i] = (struct weir_label_match){row->exact_labels[i].name, row->exact_labels[i].value};
        ask(questions, row->exact_family, exact, row->exact_label_count);
    } else {
        ask(questions, emitters_family, &service, 1);
    }
    ask(questions, "traces_spanmetrics_calls_total", spans, 2);
    ask(questions, "weir_spanmetrics_service_variance_total", spans, 2);
    for (uint32_t i = 0; i < watched->untraced_count; i++) {
        const struct weir_label_match both[] = {service,
                                                {"operation", weir_names_text(names, watched->untraced[i], NULL)}};
        ask(questions, emitters_family, both, 2);
    }
}

static void take_look(struct watched *watched, const struct weir_sum sums[SUMS]) {
    if (!sums[EXACT].found) return;
    if (watched->looks == NULL) watched->looks = calloc(LOOKS, sizeof *watched->looks);
    if (watched->looks == NULL) return;
    struct look look = {sums[EXACT].value, sums[CALLS].value, sums[VARIANCE].value};
    for (uint32_t i = 0; i < watched->untraced_count; i++)
        look.exact -= sums[SUMS + i].value;
    const struct look *last = &watched->looks[(watched->next + LOOKS - 1) % LOOKS];
    /* Series that were idle for long are forgotten, and a sum falls: what was gathered says nothing any more. */
    if (watched->count > 0 && (look.exact < last->exact || look.calls < last->calls)) watched->count = 0;
    watched->looks[watched->next] = look;
    watched->next = (watched->next + 1) % LOOKS;
    if (watched->count < LOOKS) watched->count++;
}

void weir_estimates_look(struct weir_estimates *estimates, struct weir_aggregate *aggregate,
                         const struct weir_names *names) {
    size_t untraced = 0, count = estimates->count;
    if (count == 0) return;
    for (uint32_t i = 0; i < count; i++)
        untraced += estimates->watched[i].untraced_count;
    struct questions questions = {.sums = malloc((count * SUMS + untraced) * sizeof *questions.sums),
                                  .labels = malloc((count * LABELS_EACH + 2 * untraced) * sizeof *questions.labels)};
    if (questions.sums != NULL && questions.labels != NULL) {
        for (uint32_t i = 0; i < count; i++)
            ask_of(&questions, &estimates->watched[i], names);
        weir_aggregate_sums(aggregate, questions.sums, questions.sum_count);
        const struct weir_sum *sums = questions.sums;
        for (uint32_t i = 0; i < count; i++) {
            take_look(&estimates->watched[i], sums);
            sums += SUMS + estimates->watched[i].untraced_count;
        }
    }
    free(questions.sums);
    free(questions.labels);
}

static const struct look *look_ago(const struct watched *watched, uint32_t ago) {
    return &watched->looks[(watched->next + LOOKS - 1 - ago) % LOOKS];
}

uint32_t weir_estimates_count(const struct weir_estimates *estimates) {
    return estimates->count;
}

struct weir_estimate weir_estimates_at(const struct weir_estimates *estimates, uint32_t i) {
    const struct watched *watched = &estimates->watched[i];
    struct weir_estimate made = {.service = watched->service, .ratio = -1};
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
    const struct watched *watched = find(estimates, service);
    if (watched == NULL || watched->count < 2) return -1;
    return look_ago(watched, 0)->exact - look_ago(watched, 1)->exact;
}
