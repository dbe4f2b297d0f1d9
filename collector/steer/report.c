/* report.c - what is told, to whom, at what cost: the series of /metrics, and the same as JSON. */
#include "collector/sample/plan_json.h"
#include "collector/steer/inside.h"

enum { ROWS_MAX = 2000 /* of operations of a plan */ };

static const char *const side_names[WEIR_SIDES] = {[WEIR_SIDE_POLICY] = "policy", [WEIR_SIDE_CANARY] = "canary"};

/* ---- series ---- */

static void family(struct weir_buffer *out, const char *name, const char *type, const char *help) {
    weir_buffer_printf(out, "# HELP weir_%s %s\n# TYPE weir_%s %s\n", name, help, name, type);
}

/* Prometheus text 0.0.4: a backslash, a quote and a line's end are escaped. */
static void put_label(struct weir_buffer *out, const char *label, const struct weir_names *names, uint32_t id) {
    size_t size;
    const char *text = weir_names_text(names, id, &size);
    weir_buffer_printf(out, "%s=\"", label);
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\n') {
            weir_buffer_text(out, "\\n");
            continue;
        }
        if (text[i] == '\\' || text[i] == '"') weir_buffer_byte(out, '\\');
        weir_buffer_byte(out, (uint8_t)text[i]);
    }
    weir_buffer_byte(out, '"');
}

static void put_value(struct weir_buffer *out, double value) {
    weir_buffer_text(out, "} ");
    weir_buffer_double(out, value);
    weir_buffer_byte(out, '\n');
}

/* name{service,side[,operation]; `more`: further labels with a comma in front, or "". */
static void put_series(struct weir_buffer *out, const char *name, const struct weir_names *names, enum weir_side side,
                       uint32_t service, uint32_t operation, const char *more, double value) {
    weir_buffer_printf(out, "weir_%s{", name);
    if (service == WEIR_NAME_NONE)
        weir_buffer_text(out, "service=\"\"");
    else
        put_label(out, "service", names, service);
    if (operation != WEIR_NAME_NONE) {
        weir_buffer_byte(out, ',');
        put_label(out, "operation", names, operation);
    }
    weir_buffer_printf(out, ",side=\"%s\"%s", side_names[side], more);
    put_value(out, value);
}

/* A figure of each row of services alone, or of operations too. */
struct figure {
    const char *name, *help;
    bool operations;
    const char *labels[2]; /* of one value, or of two: offered and told */
    double (*value)(const struct weir_control_view *view, int which);
};

static double offered(const struct weir_control_view *view, int which) {
    (void)which;
    return view->offered;
}
static double spans(const struct weir_control_view *view, int which) {
    return which == 0 ? view->spans_offered : view->spans_per_second;
}
static double bytes(const struct weir_control_view *view, int which) {
    return which == 0 ? view->bytes_offered : view->bytes_per_second;
}
static double proxy_cpu(const struct weir_control_view *view, int which) {
    (void)which;
    return view->proxy_cpu;
}
static double incident(const struct weir_control_view *view, int which) {
    (void)which;
    return view->incident;
}

#define STAGES                                                                                                         \
    { ",stage=\"offered\"", ",stage=\"told\"" }
static const struct figure figures[] = {
    {"policy_offered_traces_per_second",
     "Traces that begin in a service, kept or not: estimated from what came.",
     true,
     {"", NULL},
     offered},
    {"policy_spans_per_second", "Spans of traces that begin in a service: all of them, and at the rates told.", false,
     STAGES, spans},
    {"policy_bytes_per_second", "Bytes of those spans.", false, STAGES, bytes},
    {"policy_proxy_cpu_ratio",
     "Share of a core that tracing is reckoned to cost each proxy of a service; 0: its proxies are not known.",
     false,
     {"", NULL},
     proxy_cpu},
    {"policy_incident",
     "1 while errors or slowness raise the rate of an operation, or of one in a service.",
     true,
     {"", NULL},
     incident},
};

static void expose_figure(const struct weir_names *names, const struct weir_steer_shown *shown,
                          const struct figure *figure, struct weir_buffer *out) {
    family(out, figure->name, "gauge", figure->help);
    for (uint32_t i = 0; i < shown->row_count; i++) {
        const struct weir_control_view *view = &shown->rows[i].view;
        if (view->operation != WEIR_NAME_NONE && !figure->operations) continue;
        for (int which = 0; which < 2 && figure->labels[which] != NULL; which++)
            put_series(out, figure->name, names, shown->rows[i].side, view->service, view->operation,
                       figure->labels[which], figure->value(view, which));
    }
}

/* Of the plan's own rows: what is told. */
static void expose_told(const struct weir_names *names, const struct weir_steer_shown *shown, struct weir_buffer *out,
                        const char *name, double (*value)(const struct weir_plan_rate *rate)) {
    for (int s = 0; s < WEIR_SIDES; s++) {
        const struct weir_plan *plan = shown->sides[s].plan;
        enum weir_side side = (enum weir_side)s;
        uint32_t left = ROWS_MAX;
        if (plan == NULL) continue;
        put_series(out, name, names, side, WEIR_NAME_NONE, WEIR_NAME_NONE, "", value(&plan->fallback.rate));
        for (uint32_t i = 0; i < plan->service_count; i++) {
            const struct weir_plan_service *service = &plan->services[i];
            put_series(out, name, names, side, service->rate.name, WEIR_NAME_NONE, "", value(&service->rate));
            for (uint32_t k = 0; k < service->operation_count && left > 0; k++, left--)
                put_series(out, name, names, side, service->rate.name, service->operations[k].name, "",
                           value(&service->operations[k]));
        }
    }
}

static double rate_of(const struct weir_plan_rate *rate) {
    return rate->rate;
}
static double since_of(const struct weir_plan_rate *rate) {
    uint64_t since_ms = rate->since_unix_ns / WEIR_MS;
    return (double)since_ms / 1e3;
}

static double spans_bound(const struct weir_proxies_budget *budget) {
    return budget->spans_per_second;
}
static double bytes_bound(const struct weir_proxies_budget *budget) {
    return budget->bytes_per_second;
}
static double cpu_bound(const struct weir_proxies_budget *budget) {
    return budget->proxy_cpu;
}

static void expose_budget(const struct weir_names *names, const struct weir_proxies *proxies, const char *name,
                          double (*bound_of)(const struct weir_proxies_budget *budget), struct weir_buffer *out) {
    family(out, name, "gauge", "What the policy allows; service=\"\": the fleet.");
    for (uint32_t i = 0; i <= proxies->service_count; i++) {
        double bound = bound_of(i == 0 ? &proxies->budget : &proxies->services[i - 1].budget);
        uint32_t service = i == 0 ? WEIR_NAME_NONE : proxies->services[i - 1].rule.name;
        if (bound > 0) put_series(out, name, names, WEIR_SIDE_POLICY, service, WEIR_NAME_NONE, "", bound);
    }
}

static void expose_budgets(const struct weir_names *names, const struct weir_proxies *proxies,
                           struct weir_buffer *out) {
    expose_budget(names, proxies, "policy_budget_spans_per_second", spans_bound, out);
    expose_budget(names, proxies, "policy_budget_bytes_per_second", bytes_bound, out);
    expose_budget(names, proxies, "policy_budget_proxy_cpu_ratio", cpu_bound, out);
    family(out, "policy_floor_traces_per_second", "gauge",
           "Traces a second that each operation of a service is to keep at least; service=\"\": where none is said.");
    for (uint32_t i = 0; i <= proxies->service_count; i++) {
        const struct weir_proxies_rule *rule = i == 0 ? &proxies->fallback.rule : &proxies->services[i - 1].rule;
        if (rule->floor >= 0)
            put_series(out, "policy_floor_traces_per_second", names, WEIR_SIDE_POLICY,
                       i == 0 ? WEIR_NAME_NONE : rule->name, WEIR_NAME_NONE, "", rule->floor);
    }
}

/* Of services that the file does not name those that have any. */
static void expose_senders(const struct weir_names *names, const struct weir_steer_shown *shown,
                           const struct weir_proxies *proxies, struct weir_buffer *out) {
    family(out, "policy_senders", "gauge", "Proxies of a service that follow the policy and are alive.");
    for (uint32_t i = 0; i < shown->service_count; i++) {
        const struct weir_control_service *service = &shown->services[i];
        if (service->senders > 0 || weir_proxies_find(proxies, service->service) != NULL)
            put_series(out, "policy_senders", names, WEIR_SIDE_POLICY, service->service, WEIR_NAME_NONE, "",
                       service->senders);
    }
}

static void expose_estimates(const struct weir_names *names, const struct weir_steer_shown *shown,
                             struct weir_buffer *out) {
    static const char *const series[] = {"sampling_estimate_ratio", "sampling_estimate_error_ratio"};
    static const char *const helps[] = {
        "Requests that a service's spans stand for, against its own counter, over a minute; 1 when all is well.",
        "Standard error of weir_sampling_estimate_ratio."};
    for (int which = 0; which < 2; which++) {
        family(out, series[which], "gauge", helps[which]);
        for (uint32_t i = 0; i < shown->estimate_count; i++) {
            const struct weir_estimate *estimate = &shown->estimates[i];
            weir_buffer_printf(out, "weir_%s{", series[which]);
            put_label(out, "service", names, estimate->service);
            put_value(out, which == 0 ? estimate->ratio : estimate->error);
        }
    }
}

static void expose_one(struct weir_buffer *out, const char *name, const char *type, const char *help, double value) {
    family(out, name, type, help);
    weir_buffer_printf(out, "weir_%s ", name);
    weir_buffer_double(out, value);
    weir_buffer_byte(out, '\n');
}

static void expose_versions(const struct weir_steer_shown *shown, struct weir_buffer *out) {
    family(out, "policy_version_info", "gauge", "Always 1; what is told in all has this version.");
    for (int s = 0; s < WEIR_SIDES; s++) {
        if (shown->sides[s].plan == NULL) continue;
        weir_buffer_printf(out, "weir_policy_version_info{side=\"%s\",version=\"%016llx\"} 1\n", side_names[s],
                           (unsigned long long)shown->sides[s].plan->version);
    }
}

static void expose_policy(const struct weir_names *names, const struct weir_steer_shown *shown,
                          const struct weir_proxies *proxies, struct weir_buffer *out) {
    family(out, "policy_rate", "gauge",
           "What proxies are told to sample, 0 to 1; without `operation`: the service's, service=\"\": all others.");
    expose_told(names, shown, out, "policy_rate", rate_of);
    family(out, "policy_rate_since_timestamp_seconds", "gauge", "When that rate came into force.");
    expose_told(names, shown, out, "policy_rate_since_timestamp_seconds", since_of);
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++)
        expose_figure(names, shown, &figures[i], out);
    expose_budgets(names, proxies, out);
    expose_senders(names, shown, proxies, out);
    expose_estimates(names, shown, out);
    expose_one(out, "policy_arriving_spans_per_second", "gauge",
               "Spans that come of traces whose beginning came too: a mean of ten seconds.", shown->arriving);
    expose_one(out, "policy_rows_unshown", "gauge", "Operations that are told a rate and have no series here.",
               shown->unshown);
    expose_versions(shown, out);
}

void weir_steer_expose(struct weir_steer *steer, struct weir_buffer *out) {
    struct weir_steer_shown *shown = weir_steer_look(steer);
    const struct weir_policy *policy = shown->sides[WEIR_SIDE_POLICY].policy;
    const struct weir_proxies *proxies = policy == NULL ? NULL : weir_policy_proxies(policy);
    if (proxies != NULL) expose_policy(steer->env.names, shown, proxies, out);
    expose_one(out, "policy_changes_total", "counter", "How often proxies were given something else to follow.",
               (double)shown->changes);
    expose_one(out, "policy_saves_failed_total", "counter",
               "How often the rates in force could not be written beside the spool: a restart begins from older ones.",
               (double)steer->not_saved);
    expose_one(out, "policy_steps_failed_total", "counter",
               "Steps of the controller that had no memory: what was told stays.", (double)steer->not_stepped);
    weir_steer_shown_unref(shown);
}

/* ---- JSON ---- */

static void write_estimates(const struct weir_names *names, const struct weir_steer_shown *shown,
                            struct weir_buffer *out) {
    weir_buffer_text(out, ",\"estimates\":[");
    for (uint32_t i = 0; i < shown->estimate_count; i++) {
        const struct weir_estimate *estimate = &shown->estimates[i];
        size_t size;
        const char *service = weir_names_text(names, estimate->service, &size);
        weir_buffer_text(out, i == 0 ? "{\"service\":" : ",{\"service\":");
        weir_plan_write_text(service, size, out);
        weir_buffer_text(out, ",\"ratio\":");
        weir_buffer_double(out, estimate->ratio);
        weir_buffer_text(out, ",\"error\":");
        weir_buffer_double(out, estimate->error);
        weir_buffer_byte(out, '}');
    }
    weir_buffer_byte(out, ']');
}

static void write_side(const struct weir_names *names, const struct weir_steer_shown *shown, enum weir_side s,
                       struct weir_buffer *out) {
    const struct weir_steer_side *side = &shown->sides[s];
    bool first = true;
    weir_buffer_printf(out, "{\"side\":\"%s\",\"share\":", side_names[s]);
    weir_buffer_double(out, side->share);
    weir_buffer_text(out, ",\"plan\":");
    weir_plan_write(side->plan, names, out);
    weir_buffer_text(out, ",\"budgets\":");
    weir_proxies_write_budgets(weir_policy_proxies(side->policy), names, out);
    weir_buffer_text(out, ",\"loads\":[");
    for (uint32_t i = 0; i < shown->row_count; i++) {
        if (shown->rows[i].side != s) continue;
        if (!first) weir_buffer_byte(out, ',');
        weir_control_view_write(&shown->rows[i].view, names, out);
        first = false;
    }
    weir_buffer_byte(out, ']');
    write_estimates(names, shown, out);
    weir_buffer_byte(out, '}');
}

void weir_steer_write(struct weir_steer *steer, struct weir_buffer *out) {
    struct weir_steer_shown *shown = weir_steer_look(steer);
    const struct weir_steer_side *told = &shown->sides[WEIR_SIDE_POLICY];
    bool first = true;
    weir_buffer_printf(out, "{\"version\":\"%016llx\",\"policy\":\"%016llx\",\"arriving_spans_per_second\":",
                       (unsigned long long)(told->plan == NULL ? 0 : told->plan->version),
                       (unsigned long long)(told->policy == NULL ? 0 : weir_policy_version(told->policy)));
    weir_buffer_double(out, shown->arriving);
    weir_buffer_text(out, ",\"sides\":[");
    for (int s = 0; s < WEIR_SIDES; s++) {
        if (shown->sides[s].plan == NULL) continue;
        if (!first) weir_buffer_byte(out, ',');
        write_side(steer->env.names, shown, (enum weir_side)s, out);
        first = false;
    }
    weir_steer_shown_unref(shown);
    weir_buffer_text(out, "],\"followers\":");
    weir_steering_write(steer->env.steering, out);
    weir_buffer_text(out, "}\n");
}
