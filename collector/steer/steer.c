#define _GNU_SOURCE
#include "collector/core/log.h"
#include "collector/core/thread.h"
#include "collector/steer/inside.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { STEP_SECONDS = 1, ARRIVING_SECONDS = 10 };
/* So long after the start whoever comes with a rate of its own is not told another: Envoys are back within a second or
 * two, and what they tell is taken up at the next step. */
#define SETTLE_NS (5 * WEIR_S)
#define SAVE_NS   (10 * WEIR_S)

static const struct weir_proxies *proxies_of(const struct weir_steer_side *side) {
    return side->policy == NULL ? NULL : weir_policy_proxies(side->policy);
}

/* Are rates worked out here, or are they the file's? */
static bool works_out(const struct weir_proxies *proxies) {
    return proxies != NULL && weir_proxies_work_out(proxies);
}

/* ---- what was offered ---- */

static void add_load(void *self, const struct weir_control_load *load) {
    struct weir_steer *steer = self;
    if (steer->load_count == steer->load_capacity) {
        uint32_t capacity = steer->load_capacity == 0 ? 256 : 2 * steer->load_capacity;
        struct weir_control_load *more = realloc(steer->loads, capacity * sizeof *more);
        if (more == NULL) return; /* one second's load of one operation */
        steer->loads = more;
        steer->load_capacity = capacity;
    }
    steer->loads[steer->load_count++] = *load;
}

static int by_operation(const void *a, const void *b) {
    const struct weir_control_load *left = a, *right = b;
    if (left->service != right->service) return left->service < right->service ? -1 : 1;
    return left->operation < right->operation ? -1 : left->operation > right->operation;
}

/* Of all lanes, each operation once. */
static void gather_loads(struct weir_steer *steer) {
    steer->load_count = 0;
    for (uint32_t i = 0; i < steer->env.meter_count; i++)
        weir_meter_take(steer->env.meters[i], add_load, steer);
    if (steer->load_count == 0) return;
    qsort(steer->loads, steer->load_count, sizeof *steer->loads, by_operation);
    uint32_t last = 0;
    for (uint32_t i = 1; i < steer->load_count; i++) {
        if (by_operation(&steer->loads[last], &steer->loads[i]) == 0)
            weir_control_load_add(&steer->loads[last], &steer->loads[i]);
        else
            steer->loads[++last] = steer->loads[i];
    }
    steer->load_count = last + 1;
}

static void reckon_arriving(struct weir_steer *steer, double seconds) {
    if (!(seconds > 0)) return;
    double spans = 0, part = seconds < ARRIVING_SECONDS ? seconds / ARRIVING_SECONDS : 1;
    for (uint32_t i = 0; i < steer->load_count; i++)
        spans += steer->loads[i].spans;
    steer->arriving += part * (spans / seconds - steer->arriving);
}

/* ---- one step ---- */

static void adopt(void *self, uint32_t service, uint32_t operation, double rate) {
    struct weir_steer *steer = self;
    for (int s = 0; s < WEIR_SIDES; s++) {
        if (proxies_of(&steer->sides[s]) != NULL) weir_control_adopt(steer->sides[s].control, service, operation, rate);
    }
}

static void adopt_service(void *self, uint32_t service, double rate) {
    adopt(self, service, WEIR_NAME_NONE, rate);
}

static void set(struct weir_steer_side *side) {
    side->stale = !weir_control_set(side->control, proxies_of(side), weir_policy_version(side->policy));
}

static struct weir_plan *next_plan(struct weir_steer *steer, struct weir_steer_side *side,
                                   const struct weir_control_input *input) {
    static struct weir_log_limit limit;
    struct weir_control_input own = *input;
    own.share = side->share;
    if (side->stale) set(side);
    struct weir_plan *plan = side->stale ? NULL : weir_control_step(side->control, &own);
    if (plan != NULL) return plan;
    steer->not_stepped++;
    weir_log_limited(&limit, WEIR_LOG_ERROR, "policy_step_failed reason=\"out of memory: rates stay\"");
    return NULL;
}

/* True: what this side tells is another thing now. */
static bool step_side(struct weir_steer *steer, struct weir_steer_side *side, const struct weir_control_input *input) {
    struct weir_plan *before = side->plan;
    if (proxies_of(side) == NULL) {
        side->plan = NULL;
        weir_plan_unref(before);
        return before != NULL;
    }
    struct weir_plan *plan = next_plan(steer, side, input);
    if (plan == NULL) return false;
    side->plan = plan;
    bool changed = before == NULL || before->version != plan->version || before->policy != plan->policy;
    weir_plan_unref(before);
    if (changed) steer->changes++;
    return changed;
}

static void publish(struct weir_steer *steer) {
    const struct weir_steer_side *policy = &steer->sides[WEIR_SIDE_POLICY], *canary = &steer->sides[WEIR_SIDE_CANARY];
    const struct weir_proxies *proxies = proxies_of(policy);
    weir_steering_set_canary_nodes(steer->env.steering, proxies_of(canary));
    weir_steering_publish(steer->env.steering, policy->plan, canary->plan, canary->share,
                          proxies != NULL && proxies->trust_pollers, proxies);
}

/* ---- what is known of services ---- */

static int by_number(const void *a, const void *b) {
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    return left < right ? -1 : left > right;
}

/* All that a controller reckons with, and those that began a trace just now: an Envoy may be of any (steering.h). Each
 * once, of malloc(); NULL: out of memory. */
static uint32_t *list_services(const struct weir_steer *steer, uint32_t *count) {
    uint32_t room = steer->load_count + 1, had = 0;
    for (int s = 0; s < WEIR_SIDES; s++)
        room += weir_control_services(steer->sides[s].control, NULL, 0);
    uint32_t *names = malloc(room * sizeof *names);
    *count = 0;
    if (names == NULL) return NULL;
    for (int s = 0; s < WEIR_SIDES; s++)
        had += weir_control_services(steer->sides[s].control, names + had, room - had);
    for (uint32_t i = 0; i < steer->load_count; i++) { /* they are in the order of their services */
        uint32_t service = steer->loads[i].service;
        bool is_new = i == 0 || service != steer->loads[i - 1].service;
        if (is_new && service != WEIR_NAME_NONE && service != WEIR_NAME_OVERFLOW) names[had++] = service;
    }
    qsort(names, had, sizeof *names, by_number);
    for (uint32_t i = 0; i < had; i++)
        if (i == 0 || names[i] != names[i - 1]) names[(*count)++] = names[i];
    return names;
}

/* Of malloc(); NULL: out of memory, and nothing is known for a step. */
static struct weir_control_service *describe_services(const struct weir_steer *steer, uint32_t *count) {
    uint32_t *names = list_services(steer, count);
    struct weir_control_service *services = names == NULL ? NULL : calloc(*count + 1u, sizeof *services);
    if (services == NULL) *count = 0;
    for (uint32_t i = 0; i < *count; i++)
        services[i] = (struct weir_control_service){
            .service = names[i],
            .exact = weir_estimates_grown(steer->estimates, names[i]),
            .senders = weir_steering_senders(steer->env.steering, names[i]),
            .common = weir_steering_common(steer->env.steering, names[i]),
        };
    free(names);
    return services;
}

static void adopt_nothing(void *self, uint32_t service, double rate) {
    (void)self, (void)service, (void)rate;
}

/* Who comes later, with the rate of another Weir perhaps, changes nothing for the others. */
static void settle(struct weir_steer *steer, uint64_t now_ns) {
    weir_steering_take_adopted(steer->env.steering, steer->settling ? adopt_service : adopt_nothing, steer);
    if (!steer->settling || now_ns - steer->begun_ns < SETTLE_NS) return;
    steer->settling = false;
    weir_steering_set_settling(steer->env.steering, false);
}

/* What is looked at from now on. Takes over `services`. */
static void show(struct weir_steer *steer, struct weir_control_service *services, uint32_t count) {
    struct weir_steer_shown *shown = weir_steer_shown_new(steer, services, count), *before;
    if (shown == NULL) {
        steer->not_stepped++;
        return;
    }
    pthread_mutex_lock(&steer->shown_lock);
    before = steer->shown;
    steer->shown = shown;
    pthread_mutex_unlock(&steer->shown_lock);
    weir_steer_shown_unref(before);
}

/* seconds 0: only the file has changed. */
static void step(struct weir_steer *steer, double seconds) {
    uint32_t count;
    struct weir_control_service *services = describe_services(steer, &count);
    const struct weir_control_input input = {.seconds = seconds,
                                             .now_unix_ns = weir_unix_ns(steer->env.clock),
                                             .loads = steer->loads,
                                             .load_count = seconds > 0 ? steer->load_count : 0,
                                             .services = services,
                                             .service_count = count};
    bool changed = false;
    for (int s = 0; s < WEIR_SIDES; s++)
        changed |= step_side(steer, &steer->sides[s], &input);
    if (changed || seconds == 0) publish(steer);
    show(steer, services, count);
}

static void turn(struct weir_steer *steer) {
    uint64_t now_ns = weir_mono_ns(steer->env.clock);
    double seconds = (double)(now_ns - steer->stepped_ns) / 1e9;
    steer->stepped_ns = now_ns;
    gather_loads(steer);
    reckon_arriving(steer, seconds);
    weir_estimates_look(steer->estimates, steer->env.aggregate, steer->env.names);
    settle(steer, now_ns);
    weir_steering_tidy(steer->env.steering);
    step(steer, seconds);
}

/* Of a plan that is the caller's: writing takes as long as the disk does. */
static void remember(struct weir_steer *steer, const struct weir_plan *plan) {
    static struct weir_log_limit limit;
    struct weir_error why = {0};
    if (steer->rates_path[0] == 0 || plan == NULL || plan->version == steer->saved) return;
    if (weir_rates_save(steer->rates_path, plan, steer->env.names, &why) != WEIR_OK) {
        steer->not_saved++;
        weir_log_limited(&limit, WEIR_LOG_WARN, "rates_not_saved reason=\"%s\"", why.text);
        return;
    }
    steer->saved = plan->version;
}

/* A process that is killed leaves rates that are no older than SAVE_NS. */
static void remember_now_and_then(struct weir_steer *steer) {
    uint64_t now_ns = weir_mono_ns(steer->env.clock);
    if (now_ns - steer->saved_ns < SAVE_NS) return;
    steer->saved_ns = now_ns;
    pthread_mutex_lock(&steer->lock);
    const struct weir_plan *told = steer->sides[WEIR_SIDE_POLICY].plan;
    if (told != NULL) told = weir_plan_ref(told);
    pthread_mutex_unlock(&steer->lock);
    remember(steer, told);
    weir_plan_unref(told);
}

static void *run(void *self) {
    struct weir_steer *steer = self;
    pthread_setname_np(pthread_self(), "weir-steer");
    pthread_mutex_lock(&steer->lock);
    while (!steer->ending) {
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += STEP_SECONDS;
        while (!steer->ending && pthread_cond_timedwait(&steer->wake, &steer->lock, &until) != ETIMEDOUT)
            continue;
        if (steer->ending) break;
        turn(steer);
        pthread_mutex_unlock(&steer->lock);
        weir_files_tick(steer->files);
        remember_now_and_then(steer);
        pthread_mutex_lock(&steer->lock);
    }
    pthread_mutex_unlock(&steer->lock);
    return NULL;
}

/* ---- policies ---- */

static void take_side(struct weir_steer_side *side, struct weir_policy *policy, double share) {
    struct weir_policy *before = side->policy;
    side->policy = policy == NULL ? NULL : weir_policy_ref(policy);
    side->share = share;
    side->stale = false;
    if (proxies_of(side) != NULL) set(side);
    weir_policy_unref(before);
}

static void adopt_service_of(struct weir_control *control, const struct weir_plan_service *service) {
    weir_control_adopt(control, service->rate.name, WEIR_NAME_NONE, service->rate.rate);
    for (uint32_t i = 0; i < service->operation_count; i++)
        weir_control_adopt(control, service->rate.name, service->operations[i].operation, service->operations[i].rate);
}

/* A canary's proxies have what all have: its controller begins there. */
static void begin_canary(struct weir_steer *steer) {
    const struct weir_plan *told = steer->sides[WEIR_SIDE_POLICY].plan;
    struct weir_steer_side *canary = &steer->sides[WEIR_SIDE_CANARY];
    if (told == NULL || proxies_of(canary) == NULL) return;
    adopt_service_of(canary->control, &told->fallback);
    for (uint32_t i = 0; i < told->service_count; i++)
        adopt_service_of(canary->control, &told->services[i]);
    /* It is another file: its rates may be higher. */
    set(canary);
}

static void take(struct weir_steer *steer, const struct weir_steer_policies *policies) {
    double share = policies->canary != NULL ? policies->share : 0;
    bool begins = steer->sides[WEIR_SIDE_CANARY].policy == NULL && policies->canary != NULL;
    take_side(&steer->sides[WEIR_SIDE_POLICY], policies->policy, 1 - share);
    take_side(&steer->sides[WEIR_SIDE_CANARY], policies->canary, share);
    if (begins) begin_canary(steer);
    if (!weir_estimates_set(steer->estimates, proxies_of(&steer->sides[WEIR_SIDE_POLICY])))
        weir_log(WEIR_LOG_WARN, "policy_estimates_stale reason=\"out of memory\"");
}

void weir_steer_reload(struct weir_steer *steer, const struct weir_steer_policies *policies,
                       const struct weir_config *config) {
    pthread_mutex_lock(&steer->lock);
    take(steer, policies);
    step(steer, 0);
    pthread_mutex_unlock(&steer->lock);
    /* Its own lock is held for as long as a disk takes to write: rates wait for no disk. */
    if (!weir_files_set(steer->files, config)) weir_log(WEIR_LOG_WARN, "policy_files_stale reason=\"out of memory\"");
}

/* ---- life ---- */

static void recall(struct weir_steer *steer) {
    struct weir_error why = {0};
    if (steer->rates_path[0] == 0) return;
    if (weir_rates_load(steer->rates_path, steer->env.names, adopt, steer, &why) != WEIR_OK)
        weir_log(WEIR_LOG_WARN, "rates_lost reason=\"%s\"", why.text);
}

enum weir_status weir_steer_new(struct weir_steer **out, const struct weir_steer_env *env,
                                const struct weir_steer_policies *policies, struct weir_error *err) {
    struct weir_steer *steer = calloc(1, sizeof *steer);
    if (steer == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, false, "policy: out of memory");
    weir_cond_init(&steer->wake);
    pthread_mutex_init(&steer->lock, NULL);
    pthread_mutex_init(&steer->shown_lock, NULL);
    steer->env = *env;
    snprintf(steer->rates_path, sizeof steer->rates_path, "%s", env->rates_path);
    steer->begun_ns = steer->stepped_ns = steer->saved_ns = weir_mono_ns(env->clock);
    steer->estimates = weir_estimates_new();
    steer->files = weir_files_new(env->config, env->names, env->metrics, env->clock, env->steering);
    bool made = steer->estimates != NULL && steer->files != NULL;
    for (int s = 0; s < WEIR_SIDES; s++) {
        steer->sides[s].control = weir_control_new(env->names);
        made = made && steer->sides[s].control != NULL;
    }
    if (!made) {
        weir_steer_free(steer);
        return weir_fail(err, WEIR_FULL, ENOMEM, false, "policy: out of memory");
    }
    take(steer, policies);
    recall(steer);
    steer->settling = works_out(proxies_of(&steer->sides[WEIR_SIDE_POLICY]));
    weir_steering_set_settling(env->steering, steer->settling);
    step(steer, 0);
    if (steer->shown == NULL) {
        weir_steer_free(steer);
        return weir_fail(err, WEIR_FULL, ENOMEM, false, "policy: out of memory");
    }
    *out = steer;
    return WEIR_OK;
}

enum weir_status weir_steer_start(struct weir_steer *steer, struct weir_error *err) {
    int failed = pthread_create(&steer->thread, NULL, run, steer);
    if (failed != 0) return weir_fail(err, WEIR_IO, failed, false, "policy: no thread");
    steer->running = true;
    return WEIR_OK;
}

void weir_steer_stop(struct weir_steer *steer) {
    if (steer == NULL || !steer->running) return;
    pthread_mutex_lock(&steer->lock);
    steer->ending = true;
    pthread_cond_signal(&steer->wake);
    pthread_mutex_unlock(&steer->lock);
    pthread_join(steer->thread, NULL);
    steer->running = false;
    remember(steer, steer->sides[WEIR_SIDE_POLICY].plan);
}

void weir_steer_free(struct weir_steer *steer) {
    if (steer == NULL) return;
    weir_steer_stop(steer);
    for (int s = 0; s < WEIR_SIDES; s++) {
        weir_control_free(steer->sides[s].control);
        weir_plan_unref(steer->sides[s].plan);
        weir_policy_unref(steer->sides[s].policy);
    }
    weir_files_free(steer->files);
    weir_estimates_free(steer->estimates);
    free(steer->loads);
    weir_steer_shown_unref(steer->shown);
    pthread_mutex_destroy(&steer->shown_lock);
    pthread_cond_destroy(&steer->wake);
    pthread_mutex_destroy(&steer->lock);
    free(steer);
}
