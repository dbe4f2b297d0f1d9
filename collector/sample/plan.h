/* plan.h - what proxies are told now: for each service and operation a rate, and why it is that. An immutable value,
 * counted; every dialect is rendered from it, and it says nothing of where it was made.
 *
 * Rates are whole millionths; above 0 the least is one. An Envoy follows in steps of a ten-thousandth
 * (weir_plan_round_envoy()), which is then what its spans stand for. Versions are hashes of what is told, names as
 * text: the same in every process that tells the same. */
#ifndef WEIR_SAMPLE_PLAN_H
#define WEIR_SAMPLE_PLAN_H
#include "collector/core/names.h"
#include "collector/sample/proxies.h"

enum weir_plan_why {
    WEIR_PLAN_RATE,     /* the file's */
    WEIR_PLAN_PIN,      /* the file's 0 or 1, under a budget */
    WEIR_PLAN_FLOOR,    /* raised to min_traces_per_second */
    WEIR_PLAN_BUDGET,   /* lowered, for the budget */
    WEIR_PLAN_INCIDENT, /* raised for a while */
    WEIR_PLAN_WHYS
};
extern const char *const weir_plan_why_names[WEIR_PLAN_WHYS];

struct weir_plan_rate {
    uint32_t name; /* name id, as it is told; of an operation also `operation`, templated, as views have it */
    uint32_t operation;
    double rate;            /* 0 to 1, whole millionths */
    uint64_t since_unix_ns; /* in force with this value since */
    enum weir_plan_why why;
};

struct weir_plan_service {
    struct weir_plan_rate rate;   /* of operations that have no row; name = the service, 0 in the default */
    double max_traces_per_second; /* 0 or more: a rate limit is told instead, where it can be; below 0: none */
    struct weir_proxies_batching batching;
    uint64_t version; /* hash of what this service is told */
    struct weir_plan_rate *operations;
    uint32_t operation_count;
    uint32_t *by_operation; /* places in operations, by rising `operation`; of weir_plan_new(), NULL before */
};

struct weir_plan {
    _Atomic uint32_t refs;
    uint64_t policy; /* version of the file that it was made from (weir_policy_version()) */
    uint64_t version;
    struct weir_plan_service fallback;  /* of services that have no row */
    struct weir_plan_service *services; /* by rising rate.name */
    uint32_t service_count;
};

/* A rate as a plan has it. */
double weir_plan_round(double rate);
/* A rate as an Envoy follows it: the number that it draws is below 10,000 (dialects/envoy.h), so that is its finest
 * step; above 0 the least is one. */
double weir_plan_round_envoy(double rate);
/* Copies; sorts services, rounds rates, works out versions. Of two services of one name the first counts. NULL: out of
 * memory. */
struct weir_plan *weir_plan_new(const struct weir_names *names, uint64_t policy,
                                const struct weir_plan_service *fallback, const struct weir_plan_service *services,
                                uint32_t count);
/* What the file says without knowing what is offered: rates as written, a floor alone says nothing. now: of `since`. */
struct weir_plan *weir_plan_of(const struct weir_proxies *proxies, uint64_t policy, const struct weir_names *names,
                               uint64_t now_unix_ns);
/* Never NULL: the default where it has no row. */
const struct weir_plan_service *weir_plan_find(const struct weir_plan *plan, uint32_t service);
/* The row of an operation (templated name id), else the service's own. */
const struct weir_plan_rate *weir_plan_rate_of(const struct weir_plan_service *service, uint32_t operation);
struct weir_plan *weir_plan_ref(const struct weir_plan *plan);
void weir_plan_unref(const struct weir_plan *plan); /* accepts NULL */
#endif
