#include "collector/receive/sampling.h"
#include "collector/core/utf8.h"
#include "collector/dialects/jaeger.h"
#include "collector/receive/address.h"
#include "collector/sample/steering.h"

#include <stdio.h>
#include <string.h>

enum { OK, NOT_MODIFIED, BAD, NOTHING, ROWS };
#define HELP "Questions of Jaeger's clients by their answer, as HTTP counts: 404 while nothing is told."
static const struct weir_metric metrics[ROWS] = {
    [OK] = {"policy_fetches_total", "code=\"200\"", WEIR_COUNTER, HELP},
    [NOT_MODIFIED] = {"policy_fetches_total", "code=\"304\"", WEIR_COUNTER, HELP},
    [BAD] = {"policy_fetches_total", "code=\"400\"", WEIR_COUNTER, HELP},
    [NOTHING] = {"policy_fetches_total", "code=\"404\"", WEIR_COUNTER, HELP},
};

static const char nothing_text[] = "nothing is told: the policy has no part proxies:";

struct weir_metric_set *weir_sampling_counts_open(struct weir_metrics *registry, const char *way) {
    char labels[64];
    snprintf(labels, sizeof labels, "way=\"%s\"", way);
    return weir_metrics_open(registry, metrics, ROWS, labels);
}

void weir_sampling_count(struct weir_metric_set *counts, unsigned status) {
    uint32_t row = status == 200 ? OK : status == 304 ? NOT_MODIFIED : status == 404 ? NOTHING : BAD;
    weir_count(counts, row, 1);
}

/* Whoever asks from one address for one service is one follower. */
struct asker {
    const char *address, *service;
    size_t service_size;
};

/* The plan that is the asker's, a reference that the caller gives back; NULL: nothing is told. By what the board knows
 * it by (note_told()): else it would be told one side's plan and be taken for the other's. */
static const struct weir_plan *plan_for(struct weir_steering *steering, const struct asker *asker) {
    if (steering == NULL) return NULL;
    return weir_steering_plan(steering, asker->address, strlen(asker->address), NULL);
}

/* A client asks before it sends, so its service may be a new name. One for which there is no place is told its rates,
 * and is no follower. */
static void note_told(struct weir_steering *steering, struct weir_names *names, const struct asker *asker,
                      const struct weir_plan *plan) {
    uint32_t service = weir_names_admit(names, asker->service, asker->service_size);
    if (service == WEIR_NAME_NONE && asker->service_size > 0) return;
    const struct weir_follower follower = {.way = WEIR_FOLLOW_POLL, .id = asker->address, .service = service};
    weir_steering_told(steering, &follower, plan);
}

static const struct weir_plan_service *service_in(const struct weir_plan *plan, const struct weir_names *names,
                                                  const struct asker *asker) {
    return weir_plan_find(plan, weir_names_find(names, asker->service, asker->service_size));
}

/* ---- HTTP ---- */

/* RFC 9110 13.1.2: a list of tags, each perhaps with W/ before it, or *. A tag has no quotes inside, so that one that
 * is found with its quotes is in the list. */
static bool matches(const char *if_none_match, const char *etag) {
    if (if_none_match == NULL) return false;
    return strcmp(if_none_match, "*") == 0 || strstr(if_none_match, etag) != NULL;
}

static const char *fault_of(const struct weir_sampling_question *question) {
    if (question->services != 1) return "the parameter service is asked for, once";
    if (question->service == NULL) return "the parameter service has no value";
    size_t size = strlen(question->service);
    if (size > WEIR_NAME_BYTES_MAX) return "service: longer than a name may be";
    if (!weir_utf8_valid((const uint8_t *)question->service, size)) return "service: is not UTF-8";
    return NULL;
}

static unsigned say(struct weir_buffer *out, unsigned status, const char *text) {
    weir_buffer_printf(out, "%s\n", text);
    return status;
}

unsigned weir_sampling_answer(struct weir_steering *steering, struct weir_names *names,
                              const struct weir_sampling_question *question, bool follows, struct weir_buffer *out,
                              char etag[WEIR_SAMPLING_ETAG_BYTES]) {
    etag[0] = 0;
    const char *fault = fault_of(question);
    if (fault != NULL) return say(out, 400, fault);
    const struct asker asker = {question->address, question->service, strlen(question->service)};
    const struct weir_plan *plan = plan_for(steering, &asker);
    if (plan == NULL) return say(out, 404, nothing_text);
    const struct weir_plan_service *service = service_in(plan, names, &asker);
    snprintf(etag, WEIR_SAMPLING_ETAG_BYTES, "\"%016llx\"", (unsigned long long)service->version);
    bool known = matches(question->if_none_match, etag);
    if (!known) weir_jaeger_write_json(out, names, service);
    if (follows) note_told(steering, names, &asker, plan);
    weir_plan_unref(plan);
    return known ? 304 : 200;
}

/* ---- gRPC ---- */

void weir_sampling_called(struct weir_steering *steering, struct weir_names *names, struct weir_metric_set *counts,
                          struct weir_grpc_call *call, const struct weir_batch *request) {
    struct weir_error err = {0};
    struct asker asker = {0};
    char address[WEIR_ADDRESS_BYTES];
    if (weir_jaeger_read_parameters(request->bytes, request->size, &asker.service, &asker.service_size, &err) !=
        WEIR_OK) {
        weir_sampling_count(counts, 400);
        weir_grpc_refuse(call, WEIR_GRPC_INVALID_ARGUMENT, err.text, 0);
        return;
    }
    weir_grpc_peer(call, address);
    asker.address = address;
    const struct weir_plan *plan = plan_for(steering, &asker);
    weir_sampling_count(counts, plan == NULL ? 404 : 200);
    if (plan == NULL) {
        weir_grpc_refuse(call, WEIR_GRPC_NOT_FOUND, nothing_text, 0);
        return;
    }
    struct weir_buffer out = {0};
    weir_jaeger_write_proto(&out, names, service_in(plan, names, &asker));
    if (out.failed) {
        weir_grpc_refuse(call, WEIR_GRPC_RESOURCE_EXHAUSTED, "out of memory", 0);
    } else {
        note_told(steering, names, &asker, plan);
        weir_grpc_answer(call, out.bytes, out.size);
    }
    weir_buffer_free(&out);
    weir_plan_unref(plan);
}
