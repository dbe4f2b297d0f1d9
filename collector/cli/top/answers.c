#include "collector/cli/top/answers.h"
#include "collector/cli/columns.h"
#include "collector/cli/text.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* ---- words ---- */

struct number {
    char text[32];
};

static struct number taken(struct weir_buffer *buffer) {
    struct number number = {"?"};
    if (!buffer->failed) snprintf(number.text, sizeof number.text, "%.*s", (int)buffer->size, (char *)buffer->bytes);
    weir_buffer_free(buffer);
    return number;
}
static struct number count(double value) {
    struct weir_buffer buffer = {0};
    weir_column_short(&buffer, 0, value);
    return taken(&buffer);
}
/* Two digits: 0.4 %, 12 %. */
static struct number share(double value) {
    struct number number;
    double percent = 100 * value;
    snprintf(number.text, sizeof number.text, percent >= 99.5 ? "%.0f %%" : "%.2g %%", percent > 0 ? percent : 0);
    return number;
}

static void say(struct weir_top_answer *answer, enum weir_top_level level, const char *word) {
    answer->level = level;
    snprintf(answer->word, sizeof answer->word, "%s", word);
}

static void append(struct weir_top_answer *answer, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void append(struct weir_top_answer *answer, const char *format, ...) {
    size_t size = strlen(answer->text);
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(answer->text + size, sizeof answer->text - size, format, arguments);
    va_end(arguments);
}

/* One more of the things that are wrong; the worst says what the answer is. */
static void blame(struct weir_top_answer *answer, enum weir_top_level level, const char *word) {
    if (level > answer->level) say(answer, level, word);
    if (answer->text[0] != 0) append(answer, "; ");
}

/* ---- is the mesh healthy? ---- */

/* Of those that they stand for: n spans of weight w stand for n w, and add n w (w - 1) to the variance. */
static double failures_seen(const struct weir_top_row *row) {
    return row->calls > 0 ? row->failed * row->calls / (row->calls + row->variance) : 0;
}

enum weir_top_level weir_top_level_of(const struct weir_top_row *row) {
    if (failures_seen(row) < WEIR_TOP_FAILED_MIN || !(row->errors >= WEIR_TOP_STRAINED)) return WEIR_TOP_GOOD;
    return row->errors >= WEIR_TOP_FAILING ? WEIR_TOP_BAD : WEIR_TOP_WARN;
}

static const char *name(const struct weir_top_known *known, uint32_t id) {
    return weir_names_text(known->names, id, NULL);
}

/* Of those that fail the one that fails most; *others: how many more do. */
static const struct weir_top_row *worst(const struct weir_top_rows *rows, uint32_t *others) {
    const struct weir_top_row *found = NULL;
    *others = 0;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct weir_top_row *row = &rows->rows[i];
        enum weir_top_level level = weir_top_level_of(row);
        if (level == WEIR_TOP_GOOD) continue;
        ++*others;
        if (found == NULL || level > weir_top_level_of(found) ||
            (level == weir_top_level_of(found) && row->failed > found->failed))
            found = row;
    }
    if (found != NULL) --*others;
    return found;
}

static const struct weir_top_row *slowest(const struct weir_top_rows *rows) {
    const struct weir_top_row *found = NULL;
    for (uint32_t i = 0; i < rows->count; i++) {
        const struct weir_top_row *row = &rows->rows[i];
        if (!isnan(row->p99) && (found == NULL || row->p99 > found->p99)) found = row;
    }
    return found;
}

static const struct weir_top_row *in_incident(const struct weir_top_rows *rows) {
    for (uint32_t i = 0; i < rows->count; i++) {
        if (rows->rows[i].incident) return &rows->rows[i];
    }
    return NULL;
}

static void answer_mesh(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_top_numbers *numbers = known->numbers;
    uint32_t others;
    const struct weir_top_row *failing = worst(known->services, &others), *slow = slowest(known->services),
                              *incident = in_incident(known->services);
    if (numbers->services == 0 || (numbers->rated && numbers->requests <= 0)) {
        say(answer, WEIR_TOP_UNKNOWN, "unknown");
        append(answer, "%s",
               numbers->services > 0                    ? "no requests at the moment"
               : numbers->values[WEIR_TOP_RECEIVED] > 0 ? "spans came, and wait until it is known what they stand for"
                                                        : "no proxy has sent a span yet");
        return;
    }
    if (!numbers->rated) {
        say(answer, WEIR_TOP_UNKNOWN, "measuring");
        append(answer, "rates need a second look");
        return;
    }
    say(answer, WEIR_TOP_GOOD, "healthy");
    if (failing != NULL) {
        enum weir_top_level level = weir_top_level_of(failing);
        say(answer, level, level == WEIR_TOP_BAD ? "failing" : "strained");
        append(answer, "%s fails %s of %s req/s; %u of %u %s over %s", name(known, failing->first),
               share(failing->errors).text, count(failing->rate).text, others + 1, numbers->services,
               others == 0 ? "is" : "are", share(WEIR_TOP_STRAINED).text);
        return;
    }
    if (incident != NULL) {
        say(answer, WEIR_TOP_WARN, "incident");
        append(answer, "at %s; ", name(known, incident->first));
    }
    append(answer, "%u service%s, %s req/s, %s fail", numbers->services, numbers->services == 1 ? "" : "s",
           count(numbers->requests).text, share(numbers->requests > 0 ? numbers->failed / numbers->requests : 0).text);
    if (numbers->silent > 0) append(answer, ", %u silent", numbers->silent);
    if (slow != NULL && incident == NULL) {
        char time[WEIR_TEXT_BYTES];
        weir_text_duration((uint64_t)fmin(slow->p99 * 1e9, 1e18), false, time);
        append(answer, ", p99 %s at %s", time, name(known, slow->first));
    }
}

/* ---- is telemetry complete? ---- */

static void blame_exporters(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_top_numbers *numbers = known->numbers;
    for (uint32_t i = 0; i < numbers->exporter_count; i++) {
        const struct weir_top_exporter_rates *exporter = &numbers->exporters[i];
        char age[WEIR_TEXT_BYTES];
        if (!exporter->paused) continue;
        weir_text_age(exporter->oldest_seconds, age);
        blame(answer, WEIR_TOP_WARN, "late");
        append(answer, "%s does not take spans, the oldest waits %s", name(known, exporter->name), age);
    }
}

static void blame_losses(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_top_numbers *numbers = known->numbers;
    const double *rates = numbers->rates;
    double dropped = rates[WEIR_TOP_DROPPED] - rates[WEIR_TOP_MERGED];
    if (!known->ready) {
        blame(answer, WEIR_TOP_BAD, "not ready");
        append(answer, "Weir says that it is not ready");
    }
    if (dropped > 0) {
        blame(answer, WEIR_TOP_BAD, "losing");
        append(answer, "drops %s spans/s", count(dropped).text);
        for (uint32_t i = 0; i < numbers->exporter_count; i++) {
            if (numbers->exporters[i].dropped > 0) append(answer, ", of %s", name(known, numbers->exporters[i].name));
        }
    }
    if (rates[WEIR_TOP_REFUSED] > 0) {
        blame(answer, WEIR_TOP_BAD, "refusing");
        append(answer, "refuses %s spans/s%s", count(rates[WEIR_TOP_REFUSED]).text,
               rates[WEIR_TOP_REFUSED_MEMORY] > 0    ? ": memory.intake is full"
               : rates[WEIR_TOP_REFUSED_INVALID] > 0 ? " that are broken"
                                                     : "");
    }
    if (rates[WEIR_TOP_DATAGRAMS_LOST] > 0) {
        blame(answer, WEIR_TOP_BAD, "losing");
        append(answer, "%s datagrams/s are lost", count(rates[WEIR_TOP_DATAGRAMS_LOST]).text);
    }
}

static void blame_strain(const struct weir_top_numbers *numbers, struct weir_top_answer *answer) {
    const double *rates = numbers->rates;
    if (rates[WEIR_TOP_OVERLOAD] > 0) {
        blame(answer, WEIR_TOP_WARN, "thinned");
        append(answer, "leaves out %s spans/s under load", count(rates[WEIR_TOP_OVERLOAD]).text);
    }
    if (rates[WEIR_TOP_DECIDED_MEMORY] > 0) {
        blame(answer, WEIR_TOP_WARN, "pressed");
        append(answer, "keep.memory is full: traces are decided early");
    }
    if (rates[WEIR_TOP_ROOTLESS] > 0.1 * rates[WEIR_TOP_DECIDED]) {
        blame(answer, WEIR_TOP_WARN, "in pieces");
        append(answer, "%s of traces have no root",
               share(fmin(rates[WEIR_TOP_ROOTLESS] / rates[WEIR_TOP_DECIDED], 1)).text);
    }
    if (rates[WEIR_TOP_POINTS_REJECTED] > 0) {
        blame(answer, WEIR_TOP_WARN, "incomplete");
        append(answer, "rejects %s points/s", count(rates[WEIR_TOP_POINTS_REJECTED]).text);
    }
    if (rates[WEIR_TOP_SERIES_OVERFLOW] > 0) {
        blame(answer, WEIR_TOP_WARN, "folded");
        append(answer, "too many series: some share one");
    }
    if (numbers->imbalance > 0) {
        blame(answer, WEIR_TOP_WARN, "off");
        append(answer, "the ledger is off by %s spans", count(numbers->imbalance).text);
    }
    if (numbers->seen[WEIR_TOP_RELOADED] && numbers->values[WEIR_TOP_RELOADED] <= 0) {
        blame(answer, WEIR_TOP_WARN, "misconfigured");
        append(answer, "the last reload failed");
    }
}

static void answer_telemetry(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_top_numbers *numbers = known->numbers;
    blame_losses(known, answer);
    blame_exporters(known, answer);
    blame_strain(numbers, answer);
    if (answer->level != WEIR_TOP_UNKNOWN) return;
    if (!numbers->rated) {
        say(answer, WEIR_TOP_UNKNOWN, "measuring");
        append(answer, "rates need a second look");
    } else {
        say(answer, WEIR_TOP_GOOD, "complete");
        append(answer, "%s spans/s came; none refused, dropped or lost", count(numbers->rates[WEIR_TOP_RECEIVED]).text);
    }
}

/* ---- what does tracing cost? ---- */

struct told {
    double share, bytes, proxy_cpu; /* proxy_cpu: of the proxies that it costs most */
};

static struct told sum_told(const struct weir_view_side *side) {
    struct told told = {.share = weir_top_told(side, 0, true)};
    for (uint32_t i = 0; i < side->count; i++) {
        const struct weir_view_row *row = &side->rows[i];
        if (row->operation != WEIR_NAME_NONE || !row->measured) continue;
        told.bytes += row->bytes_told;
        told.proxy_cpu = fmax(told.proxy_cpu, row->proxy_cpu);
    }
    return told;
}

/* A tenth more is what rates of the last seconds may be off. */
static bool over(double is, double budget) {
    return budget > 0 && is > 1.1 * budget;
}

static void append_bytes(struct weir_top_answer *answer, double bytes) {
    struct weir_buffer buffer = {0};
    weir_column_bytes(&buffer, 0, bytes);
    append(answer, "%s/s", taken(&buffer).text);
}

/* A rate that nobody follows costs and saves nothing: then what comes is what somebody else decided. */
static void append_followers(const struct weir_policy_view *policy, double told, struct weir_top_answer *answer) {
    uint32_t follow = 0, behind = 0;
    for (uint32_t i = 0; i < policy->follower_count; i++) {
        const char *state = policy->followers[i].state;
        follow += strcmp(state, "gone") != 0;
        behind += strcmp(state, "behind") == 0 || strcmp(state, "refused") == 0;
    }
    append(answer, "; ");
    if (!isnan(told)) append(answer, "told %s, ", share(told).text);
    if (follow == 0)
        append(answer, "nobody follows");
    else if (behind > 0)
        append(answer, "%u of %u behind", behind, follow);
    else
        append(answer, "%u follow%s", follow, follow == 1 ? "s" : "");
}

/* What comes of traces that begin under the plan; where nobody knows, all that comes. */
static double arriving(const struct weir_top_known *known) {
    double measured = known->policy->arriving;
    return measured >= 0 ? measured : known->numbers->rates[WEIR_TOP_RECEIVED];
}

static void answer_policy(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_view_side *side = &known->policy->sides[0];
    const struct weir_proxies_budget *budget = &side->budget;
    struct told told = sum_told(side);
    double spans = arriving(known);
    bool has_budget = budget->spans_per_second > 0 || budget->bytes_per_second > 0 || budget->proxy_cpu > 0;
    bool beyond = over(spans, budget->spans_per_second) || over(told.bytes, budget->bytes_per_second) ||
                  over(told.proxy_cpu, budget->proxy_cpu);
    say(answer, beyond ? WEIR_TOP_WARN : WEIR_TOP_GOOD,
        !has_budget ? "no budget"
        : beyond    ? "over budget"
                    : "in budget");
    append(answer, "%s spans/s", count(spans).text);
    if (budget->spans_per_second > 0) append(answer, ", %s allowed", count(budget->spans_per_second).text);
    append_followers(known->policy, told.share, answer);
    if (budget->bytes_per_second > 0) {
        append(answer, "; ");
        append_bytes(answer, told.bytes);
        append(answer, " of ");
        append_bytes(answer, budget->bytes_per_second);
    }
    if (told.proxy_cpu > 0) append(answer, "; a proxy pays %s of a core", share(told.proxy_cpu).text);
}

static void answer_cost(const struct weir_top_known *known, struct weir_top_answer *answer) {
    const struct weir_top_numbers *numbers = known->numbers;
    if (!numbers->rated) {
        say(answer, WEIR_TOP_UNKNOWN, "measuring");
        append(answer, "rates need a second look");
    } else if (known->policy != NULL && known->policy->side_count > 0) {
        answer_policy(known, answer);
    } else {
        say(answer, WEIR_TOP_UNKNOWN, "not steered");
        append(answer, "%s spans/s; no policy tells proxies how many to send",
               count(numbers->rates[WEIR_TOP_RECEIVED]).text);
    }
}

void weir_top_answer(const struct weir_top_known *known, struct weir_top_answer answers[WEIR_TOP_QUESTIONS]) {
    memset(answers, 0, WEIR_TOP_QUESTIONS * sizeof *answers);
    answer_mesh(known, &answers[WEIR_TOP_MESH]);
    answer_telemetry(known, &answers[WEIR_TOP_TELEMETRY]);
    answer_cost(known, &answers[WEIR_TOP_COST]);
    if (!known->silent) return;
    for (int i = 0; i < WEIR_TOP_QUESTIONS; i++)
        answers[i].level = WEIR_TOP_UNKNOWN; /* what it was */
    answers[WEIR_TOP_TELEMETRY].text[0] = 0;
    say(&answers[WEIR_TOP_TELEMETRY], WEIR_TOP_BAD, "no answer");
    append(&answers[WEIR_TOP_TELEMETRY], "Weir does not answer: what came since is not known");
}
