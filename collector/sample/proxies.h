/* proxies.h - the `proxies:` part of sampling.yaml: what proxies are to be told, as it stands in the file, names
 * interned. Immutable, part of its policy. What they are told at the moment is a plan (plan.h), which a controller
 * makes of this and of what is offered (control.h).
 *
 * A rate that the file says
 *   without a budget   is what is told, raised where a floor needs it
 *   with one           is the most that is told; 0 and 1 are pins: always told as they are
 * A rate of 0 is never raised. What says nothing takes the service's, then the default's; a service has the default's
 * operations besides its own. */
#ifndef WEIR_SAMPLE_PROXIES_H
#define WEIR_SAMPLE_PROXIES_H
#include "collector/config/yaml.h"
#include "collector/core/names.h"

/* 0 = no bound. Of what a service's decisions bring about: all spans of traces that it began. */
struct weir_proxies_budget {
    double spans_per_second;
    double bytes_per_second;
    double proxy_cpu; /* share of one core, of each proxy of the service */
};

/* What Envoy's tracer is told besides its rate; 0 = left as it is. */
struct weir_proxies_batching {
    uint32_t min_flush_spans;
    uint64_t flush_interval_ns;
};

enum { WEIR_PROXIES_UNSAID = -1 };

/* A number below 0 is not said. */
struct weir_proxies_rule {
    uint32_t name;      /* as written, which is how it is told; WEIR_NAME_NONE in the default */
    uint32_t operation; /* of an operation: templated, as views have it */
    double rate;
    double floor;  /* min_traces_per_second of each operation, of the fleet; fractions are allowed */
    double weight; /* importance, where a budget is shared out; 1 */
    int line;
};

struct weir_proxies_service {
    struct weir_proxies_rule rule;
    /* A rate limit of each client, below 0: none. Only Jaeger's clients can; others have the rate. A service that says
     * neither this nor a rate has the default's, filled in. */
    double max_traces_per_second;
    struct weir_proxies_budget budget;
    struct weir_proxies_batching batching;
    /* What counts all its requests: a series by its name, and labels that it has to have; "" = nothing is known of */
    char exact_family[128];
    struct weir_proxies_label {
        char name[64], value[128];
    } exact_labels[4];
    uint32_t exact_label_count;
    char (*nodes)[128]; /* Envoy's node.cluster or node.id, a * at the end: that begin so. None: the service's name */
    uint32_t node_count;
    struct weir_proxies_rule *operations; /* its own first, then those of the default that it has not */
    uint32_t operation_count, own_operation_count;
};

struct weir_proxies {
    struct weir_proxies_service fallback; /* `default`: rule.name = 0 */
    struct weir_proxies_service *services;
    uint32_t service_count;
    struct weir_proxies_budget budget; /* of the fleet */
    double cost_ns;                    /* CPU that a span costs a proxy: cost_per_span, 20us */
    struct {
        bool on;             /* unless said: with a budget of the fleet, which bounds what it costs */
        double factor;       /* the rate of an operation in trouble times this; 10 */
        uint64_t for_ns;     /* for so long after it ended; 5m */
        double errors;       /* share of its traces; 5% */
        double slower_times; /* than its own usual; 3 */
    } incident;
    bool trust_pollers; /* `trust: policy`: what was fetched is taken as followed */
    uint64_t poll_ns;   /* how often clients are taken to ask; 60s */
    uint32_t *by_name;  /* places in services, by rising rule.name */
    uint32_t row_count; /* services and operations in all */
    int line;
};

/* `node` is the value of the key `proxies`. On failure *out is as it was. */
enum weir_status weir_proxies_read(const struct weir_yaml_doc *doc, const struct weir_yaml *node,
                                   struct weir_names *names, struct weir_proxies **out, struct weir_error *err);
void weir_proxies_free(struct weir_proxies *proxies); /* accepts NULL */
/* Its own row; NULL: it has none, and the default is its. */
const struct weir_proxies_service *weir_proxies_find(const struct weir_proxies *proxies, uint32_t service);
bool weir_proxies_bounds(const struct weir_proxies_budget *budget); /* does it bound anything at all? */
/* Does what is told hang on what is offered (budgets, floors, incidents), or is it the file's rates as they stand? */
bool weir_proxies_work_out(const struct weir_proxies *proxies);
/* What can have no effect, as weir_policy_remarks(). */
void weir_proxies_remarks(const struct weir_proxies *proxies, void (*say)(void *self, int line, const char *text),
                          void *self);
#endif
