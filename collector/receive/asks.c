#include "collector/receive/asks.h"
#include "collector/core/clock.h"
#include "collector/core/operation.h"
#include "collector/sample/policy.h"
#include "collector/sample/steering.h"

#include <stdio.h>
#include <stdlib.h>

/* PolicyAnswer of datagram.proto */
enum { VERSION = 1, NONCE, POLICY_VERSION, THRESHOLD, THRESHOLDS, HMAC = 15 };

#define RESULT(result)                                                                                                 \
    {                                                                                                                  \
        "policy_asks_total", "result=\"" result "\"", WEIR_COUNTER,                                                    \
            "Datagrams that asked what to sample, by what came of it."                                                 \
    }
static const struct weir_metric table[WEIR_ASK_RESULTS] = {
    [WEIR_ASK_ANSWERED] = RESULT("answered"),   [WEIR_ASK_CURRENT] = RESULT("current"),
    [WEIR_ASK_NO_POLICY] = RESULT("no_policy"), [WEIR_ASK_SHORT] = RESULT("short"),
    [WEIR_ASK_NONCE] = RESULT("nonce"),         [WEIR_ASK_REPEATED] = RESULT("repeated"),
    [WEIR_ASK_LIMITED] = RESULT("limited"),     [WEIR_ASK_UNSIGNED] = RESULT("unsigned"),
    [WEIR_ASK_FAILED] = RESULT("failed"),
};

struct weir_asks {
    struct weir_steering *steering;
    const struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    struct weir_signer *signer;
    double left;      /* answers that may go out now */
    uint64_t left_ns; /* as of then */
    uint64_t thresholds[WEIR_ASK_OPERATIONS_MAX];
    uint8_t answer[WEIR_ASK_FIXED_BYTES + 8 * WEIR_ASK_OPERATIONS_MAX];
};

struct weir_asks *weir_asks_new(struct weir_steering *steering, const struct weir_names *names,
                                struct weir_metrics *metrics, struct weir_signer *signer) {
    struct weir_asks *asks = calloc(1, sizeof *asks);
    if (asks == NULL) return NULL;
    *asks = (struct weir_asks){
        .steering = steering, .names = names, .metrics = metrics, .signer = signer, .left = WEIR_ASK_BURST};
    asks->set = weir_metrics_open(metrics, table, WEIR_ASK_RESULTS, NULL);
    if (asks->set != NULL) return asks;
    free(asks);
    return NULL;
}

void weir_asks_free(struct weir_asks *asks) {
    if (asks == NULL) return;
    weir_metrics_close(asks->metrics, asks->set);
    free(asks);
}

void weir_asks_count(struct weir_asks *asks, enum weir_ask_result result) {
    weir_count(asks->set, result, 1);
}

/* ---- bounds ---- */

/* Each answer takes the sender's time a gap further; how far that may be ahead of now is the burst. */
static bool is_too_soon(struct weir_sender_note *note, uint64_t now_ns) {
    const uint64_t gap_ns = WEIR_ASK_SENDER_GAP_MS * WEIR_MS;
    uint64_t from_ns = note->answers_ns > now_ns ? note->answers_ns : now_ns;
    if (from_ns - now_ns > (WEIR_ASK_SENDER_BURST - 1) * gap_ns) return true;
    note->answers_ns = from_ns + gap_ns;
    return false;
}

static bool is_too_much(struct weir_asks *asks, uint64_t now_ns) {
    double seconds = now_ns > asks->left_ns ? (double)(now_ns - asks->left_ns) / (double)WEIR_S : 0;
    asks->left += seconds * WEIR_ASK_ANSWERS_S;
    if (asks->left > WEIR_ASK_BURST) asks->left = WEIR_ASK_BURST;
    asks->left_ns = now_ns;
    if (asks->left < 1) return true;
    asks->left -= 1;
    return false;
}

/* ---- what is answered ---- */

/* By the name as the file writes it, else as views have it. Names are only looked up: whoever asks for many does not
 * fill the table. */
static double rate_of(const struct weir_asks *asks, const struct weir_plan_service *told, const uint8_t *name,
                      size_t size) {
    char made[5 * WEIR_NAME_BYTES_MAX / 2 + 4];
    if (size > WEIR_NAME_BYTES_MAX || told->operation_count == 0) return told->rate.rate;
    uint32_t id = weir_names_find(asks->names, name, size);
    for (uint32_t i = 0; id != WEIR_NAME_NONE && i < told->operation_count; i++) {
        if (told->operations[i].name == id) return told->operations[i].rate;
    }
    id = weir_names_find(asks->names, made, weir_operation_template(name, size, made, sizeof made));
    return id != WEIR_NAME_NONE ? weir_plan_rate_of(told, id)->rate : told->rate.rate;
}

/* As many as find room in what asked. `out` stands before their field. */
static uint8_t *put_thresholds(struct weir_asks *asks, const struct weir_ask *ask, const struct weir_plan_service *told,
                               uint8_t *out) {
    size_t room = (ask->datagram->size - WEIR_ASK_FIXED_BYTES) / 8, count = 0, name_size;
    struct weir_wire wire = ask->datagram->ask;
    const uint8_t *name;
    if (room > WEIR_ASK_OPERATIONS_MAX) room = WEIR_ASK_OPERATIONS_MAX;
    while (count < room && weir_datagram_operation(&wire, &name, &name_size))
        asks->thresholds[count++] = weir_threshold_of(rate_of(asks, told, name, name_size));
    size_t more_asks = count / WEIR_ASK_OPERATIONS_EACH;
    asks->left -= (double)more_asks;
    return count > 0 ? weir_wire_put_bytes(out, THRESHOLDS, asks->thresholds, 8 * count) : out;
}

/* 0: it cannot be signed. */
static size_t write_answer(struct weir_asks *asks, const struct weir_ask *ask, const struct weir_plan_service *told) {
    uint8_t *end = weir_wire_put_uint(asks->answer, VERSION, WEIR_DATAGRAM_VERSION);
    end = weir_wire_put_fixed64(end, NONCE, ask->datagram->nonce);
    end = weir_wire_put_uint(end, POLICY_VERSION, told->version);
    end = weir_wire_put_fixed64(end, THRESHOLD, weir_threshold_of(told->rate.rate));
    end = put_thresholds(asks, ask, told, end);
    size_t size = (size_t)(end - asks->answer);
    if (asks->signer == NULL) return size;
    uint8_t signature[WEIR_SIGNATURE_BYTES];
    if (!weir_signer_sign(asks->signer, asks->answer, size, signature)) return 0;
    return (size_t)(weir_wire_put_bytes(end, HMAC, signature, sizeof signature) - asks->answer);
}

static enum weir_ask_result answer_from(struct weir_asks *asks, const struct weir_ask *ask, const char *id,
                                        const struct weir_plan *plan, size_t *size) {
    const struct weir_datagram *datagram = ask->datagram;
    const struct weir_plan_service *told = weir_plan_find(plan, ask->service);
    const struct weir_follower sender = {WEIR_FOLLOW_DATAGRAM, id, ask->service};
    if (!weir_steering_asks(asks->steering, &sender, datagram->start_ns, datagram->sequence)) return WEIR_ASK_REPEATED;
    if (datagram->policy_version == told->version || datagram->policy_version == plan->version) return WEIR_ASK_CURRENT;
    /* The sender's own bound first: what is refused by it takes nothing from the others. */
    if (is_too_soon(ask->note, ask->now_ns) || is_too_much(asks, ask->now_ns)) return WEIR_ASK_LIMITED;
    *size = write_answer(asks, ask, told);
    return *size > 0 ? WEIR_ASK_ANSWERED : WEIR_ASK_FAILED;
}

static enum weir_ask_result consider(struct weir_asks *asks, const struct weir_ask *ask, size_t *size) {
    if (ask->datagram->nonce == 0) return WEIR_ASK_NONCE;
    if (ask->datagram->size < WEIR_ASK_BYTES_MIN) return WEIR_ASK_SHORT;
    char id[WEIR_DATAGRAM_SENDER_BYTES];
    weir_datagram_sender(ask->datagram, id);
    const struct weir_plan *plan =
        asks->steering != NULL ? weir_steering_plan(asks->steering, id, strlen(id), NULL) : NULL;
    if (plan == NULL) return WEIR_ASK_NO_POLICY;
    enum weir_ask_result result = answer_from(asks, ask, id, plan, size);
    weir_plan_unref(plan);
    return result;
}

size_t weir_asks_answer(struct weir_asks *asks, const struct weir_ask *ask, const uint8_t **answer) {
    size_t size = 0;
    enum weir_ask_result result = consider(asks, ask, &size);
    *answer = asks->answer;
    if (result != WEIR_ASK_ANSWERED) weir_asks_count(asks, result);
    return result == WEIR_ASK_ANSWERED ? size : 0;
}
