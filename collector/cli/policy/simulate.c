#include "collector/cli/policy/simulate.h"
#include "collector/core/clock.h"
#include "collector/sample/plan.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    TICKS_A_STEP = 10,
    HISTORY = 64,       /* plans remembered: more seconds than a trace waits for its root */
    WINDOW_STEPS = 30,  /* of spans_max */
    INDEX_SIZE = 65536, /* above twice the rows */
};

/* A plan, and since when. */
struct in_force {
    uint64_t since_ns;
    struct weir_plan *plan;
};

struct simulated {
    struct weir_control *control;
    struct in_force history[HISTORY]; /* a ring */
    uint32_t plans;                   /* that there were */
    double window[WINDOW_STEPS];      /* spans of the last steps, a ring */
    double step_spans, window_spans, window_seconds[WINDOW_STEPS], window_time;
};

/* What came of a row since the step before. */
struct step {
    struct weir_control_load policies[WEIR_SIMULATED];
    bool any;
};

struct weir_simulation_state {
    struct simulated simulated[WEIR_SIMULATED];
    struct step *steps; /* beside rows */
    uint32_t capacity;
    uint32_t *index; /* place + 1 */
    struct weir_control_load *loads;
    struct weir_control_service *services;
    uint32_t ticks; /* since the last step */
    uint64_t steps_done;
    bool counts; /* false: the controllers only learn */
    bool begun;  /* a trace was complete since time began: before it, there is a load that nobody can know of yet */
    uint64_t clock_ns;
};

/* ---- rows ---- */

static bool grow(struct weir_simulation *simulation) {
    struct weir_simulation_state *state = simulation->state;
    uint32_t capacity = state->capacity == 0 ? 256 : 2 * state->capacity;
    struct weir_simulated_row *rows = realloc(simulation->rows, capacity * sizeof *rows);
    if (rows != NULL) simulation->rows = rows;
    struct step *steps = realloc(state->steps, capacity * sizeof *steps);
    if (steps != NULL) state->steps = steps;
    struct weir_control_load *loads = realloc(state->loads, capacity * sizeof *loads);
    if (loads != NULL) state->loads = loads;
    struct weir_control_service *services = realloc(state->services, capacity * sizeof *services);
    if (services != NULL) state->services = services;
    if (rows == NULL || steps == NULL || loads == NULL || services == NULL) return false;
    state->capacity = capacity;
    return true;
}

/* UINT32_MAX: out of memory. */
static uint32_t row_of(struct weir_simulation *simulation, uint32_t service, uint32_t operation) {
    struct weir_simulation_state *state = simulation->state;
    uint64_t key = (uint64_t)service << 32 | operation;
    uint32_t at = (uint32_t)((key ^ key >> 29) * 0x9e3779b97f4a7c15ull >> 48) & (INDEX_SIZE - 1);
    for (; state->index[at] != 0; at = (at + 1) & (INDEX_SIZE - 1)) {
        const struct weir_simulated_row *row = &simulation->rows[state->index[at] - 1];
        if (row->service == service && row->operation == operation) return state->index[at] - 1;
    }
    if (simulation->row_count >= WEIR_SIMULATED_ROWS_MAX - 1 && service != WEIR_NAME_OVERFLOW)
        return row_of(simulation, WEIR_NAME_OVERFLOW, WEIR_NAME_OVERFLOW);
    if (simulation->row_count == state->capacity && !grow(simulation)) {
        simulation->failed = true;
        return UINT32_MAX;
    }
    simulation->rows[simulation->row_count] = (struct weir_simulated_row){.service = service, .operation = operation};
    state->steps[simulation->row_count] = (struct step){0};
    state->index[at] = ++simulation->row_count;
    return simulation->row_count - 1;
}

/* ---- a trace ---- */

static const struct weir_plan *plan_at(const struct simulated *simulated, uint64_t born_ns) {
    uint32_t known = simulated->plans < HISTORY ? simulated->plans : HISTORY;
    for (uint32_t ago = 1; ago < known; ago++) {
        const struct in_force *one = &simulated->history[(simulated->plans - ago) % HISTORY];
        if (one->since_ns <= born_ns) return one->plan;
    }
    return simulated->history[(simulated->plans - known) % HISTORY].plan;
}

static void add_sums(struct weir_simulated_sums *sums, const struct weir_stored_trace *trace, double offered,
                     double rate) {
    double sent = offered * rate;
    bool error = trace->errors > 0;
    sums->traces += sent;
    sums->spans += sent * trace->spans;
    sums->bytes += sent * (double)trace->bytes;
    if (!(rate > 0)) {
        sums->unseen += offered;
        if (error) sums->errors_unseen += offered;
        return;
    }
    double variance = offered * (1 / rate - 1);
    sums->variance += variance;
    if (error) sums->errors_variance += variance;
}

/* In [0, 1), of a trace's id: the same in each run, and for each policy, so that what a low rate sends a higher one
 * sends too. Not the randomness R that samplers go by: what was recorded was perhaps chosen by it. Finalizer of
 * splitmix64 (S. Vigna). */
static double place_of(const struct weir_stored_trace *trace) {
    uint64_t z = trace->trace_lo;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
    z = (z ^ z >> 27) * 0x94d049bb133111ebull;
    return (double)((z ^ z >> 31) >> 11) * 0x1p-53;
}

/* What the controller would see of it: whole traces, or nothing. One that stands for w, at a rate of p, is floor(w p)
 * traces or one more, by its place; each stands for 1 / p. */
static void add_load(struct weir_control_load *load, const struct weir_stored_trace *trace, double offered,
                     double rate) {
    if (!(rate > 0)) return;
    double sent = floor(offered * rate), rest = offered * rate - sent;
    if (place_of(trace) < rest) sent++;
    load->roots += sent;
    load->traces += sent / rate;
    load->spans += sent * trace->spans;
    load->bytes += sent * (double)trace->bytes;
    load->seconds += sent / rate * (double)trace->root_ns / 1e9;
    if (trace->errors > 0) load->errors += sent / rate;
}

static void on_decided(void *self, const struct weir_stored_trace *trace, uint64_t now_ns) {
    struct weir_simulation *simulation = self;
    struct weir_simulation_state *state = simulation->state;
    (void)now_ns;
    double offered = weir_stored_weight(trace->prior, trace->threshold);
    uint32_t place = simulation->failed ? UINT32_MAX : row_of(simulation, trace->service, trace->operation);
    if (place == UINT32_MAX) return;
    struct weir_simulated_row *row = &simulation->rows[place];
    struct step *step = &state->steps[place];
    if (state->counts) {
        row->offered += offered;
        if (trace->errors > 0) row->errors += offered;
        simulation->rootless += !trace->has_root;
        add_sums(&row->recorded, trace, offered, 1 / offered);
    }
    state->begun = true;
    step->any = true;
    for (int p = 0; p < simulation->policy_count; p++) {
        const struct weir_plan *plan = plan_at(&state->simulated[p], trace->born_ns);
        double rate = weir_plan_rate_of(weir_plan_find(plan, trace->service), trace->operation)->rate;
        if (trace->forced) rate = 1; /* whatever is told */
        add_load(&step->policies[p], trace, offered, rate);
        state->simulated[p].step_spans += offered * rate * trace->spans;
        if (state->counts) add_sums(&row->policies[p], trace, offered, rate);
    }
}

/* ---- a step ---- */

static void remember(struct weir_simulation *simulation, struct simulated *simulated, struct weir_plan *plan,
                     uint64_t now_ns) {
    if (plan == NULL) {
        simulation->failed = true;
        return;
    }
    if (simulated->plans > 0 && simulated->history[(simulated->plans - 1) % HISTORY].plan == plan) {
        weir_plan_unref(plan);
        return;
    }
    struct in_force *place = &simulated->history[simulated->plans++ % HISTORY];
    weir_plan_unref(place->plan);
    *place = (struct in_force){now_ns, plan};
}

static uint32_t gather(const struct weir_simulation *simulation, int p) {
    struct weir_simulation_state *state = simulation->state;
    uint32_t count = 0;
    for (uint32_t i = 0; i < simulation->row_count; i++) {
        const struct weir_control_load *load = &state->steps[i].policies[p];
        if (!state->steps[i].any || !(load->roots > 0)) continue;
        state->loads[count] = *load;
        state->loads[count].service = simulation->rows[i].service;
        state->loads[count++].operation = simulation->rows[i].operation;
    }
    return count;
}

static int by_service(const void *a, const void *b) {
    uint32_t x = ((const struct weir_control_service *)a)->service;
    uint32_t y = ((const struct weir_control_service *)b)->service;
    return x < y ? -1 : x > y;
}

static uint32_t gather_services(const struct weir_simulation *simulation) {
    struct weir_control_service *services = simulation->state->services;
    uint32_t count = 0;
    for (uint32_t i = 0; i < simulation->row_count; i++)
        services[i] = (struct weir_control_service){
            .service = simulation->rows[i].service, .exact = -1, .senders = simulation->senders};
    if (simulation->row_count > 0) qsort(services, simulation->row_count, sizeof *services, by_service);
    for (uint32_t i = 0; i < simulation->row_count; i++) {
        if (count == 0 || services[count - 1].service != services[i].service) services[count++] = services[i];
    }
    return count;
}

/* The 30 s that had most; a shorter recording: all of it. */
static void move_window(struct weir_simulation *simulation, int p, double seconds) {
    struct simulated *simulated = &simulation->state->simulated[p];
    uint64_t steps = simulation->state->steps_done;
    uint32_t place = (uint32_t)(steps % WINDOW_STEPS);
    if (steps >= WINDOW_STEPS) {
        simulated->window_spans -= simulated->window[place];
        simulated->window_time -= simulated->window_seconds[place];
    }
    simulated->window[place] = simulated->step_spans;
    simulated->window_seconds[place] = seconds;
    simulated->window_spans += simulated->step_spans;
    simulated->window_time += seconds;
    double mean = simulated->window_spans / simulated->window_time, *most = &simulation->policies[p].spans_max;
    if (steps < WINDOW_STEPS || mean > *most) *most = mean;
}

static void forget_step(struct weir_simulation *simulation, double seconds) {
    struct weir_simulation_state *state = simulation->state;
    if (simulation->row_count > 0) memset(state->steps, 0, simulation->row_count * sizeof *state->steps);
    for (int p = 0; p < simulation->policy_count; p++)
        state->simulated[p].step_spans = 0;
    state->ticks = 0;
    if (state->counts) simulation->seconds += seconds;
}

static void step(struct weir_simulation *simulation, uint64_t now_ns) {
    struct weir_simulation_state *state = simulation->state;
    double seconds = (double)state->ticks / TICKS_A_STEP;
    state->clock_ns += state->ticks * (WEIR_S / TICKS_A_STEP);
    if (simulation->failed) return;
    uint32_t service_count = gather_services(simulation);
    for (int p = 0; p < simulation->policy_count; p++) {
        const struct weir_control_input input = {.seconds = seconds,
                                                 .now_unix_ns = state->clock_ns,
                                                 .loads = state->loads,
                                                 .load_count = gather(simulation, p),
                                                 .services = state->services,
                                                 .service_count = service_count,
                                                 .share = 1};
        remember(simulation, &state->simulated[p], weir_control_step(state->simulated[p].control, &input), now_ns);
        move_window(simulation, p, seconds);
    }
    forget_step(simulation, seconds);
    state->steps_done++;
}

static void on_tick(void *self, uint64_t now_ns) {
    struct weir_simulation *simulation = self;
    if (!simulation->state->begun)
        forget_step(simulation, 1.0 / TICKS_A_STEP);
    else if (++simulation->state->ticks == TICKS_A_STEP)
        step(simulation, now_ns);
}

/* Time begins anew: what comes is behind this, wherever the clock of the recording goes. All that waited was handed
 * over at once just now: it counts, and is no second's load. */
static void on_gap(void *self, uint64_t now_ns) {
    struct weir_simulation *simulation = self;
    (void)now_ns;
    forget_step(simulation, (double)simulation->state->ticks / TICKS_A_STEP);
    simulation->state->begun = false;
    for (int p = 0; p < simulation->policy_count; p++) {
        struct simulated *simulated = &simulation->state->simulated[p];
        if (simulated->plans > 0) simulated->history[(simulated->plans - 1) % HISTORY].since_ns = 0;
    }
}

/* ---- a run ---- */

static bool begin(struct weir_simulation *simulation, struct weir_names *names) {
    struct weir_simulation_state *state = simulation->state;
    state->clock_ns = 1000000 * WEIR_S; /* the same for each run */
    state->index = calloc(INDEX_SIZE, sizeof *state->index);
    if (state->index == NULL) return false;
    for (int p = 0; p < simulation->policy_count; p++) {
        const struct weir_policy *policy = simulation->policies[p].policy;
        struct simulated *simulated = &state->simulated[p];
        simulated->control = weir_control_new(names);
        if (simulated->control == NULL) return false;
        weir_control_set(simulated->control, weir_policy_proxies(policy), weir_policy_version(policy));
        const struct weir_control_input nothing = {.now_unix_ns = state->clock_ns, .share = 1};
        remember(simulation, simulated, weir_control_step(simulated->control, &nothing), 0);
    }
    return !simulation->failed;
}

static void end(struct weir_simulation *simulation) {
    struct weir_simulation_state *state = simulation->state;
    for (int p = 0; p < simulation->policy_count; p++) {
        weir_control_free(state->simulated[p].control);
        for (uint32_t i = 0; i < HISTORY; i++)
            weir_plan_unref(state->simulated[p].history[i].plan);
    }
    free(state->index);
    free(state->steps);
    free(state->loads);
    free(state->services);
    free(state);
    simulation->state = NULL;
}

bool weir_simulation_run(struct weir_simulation *simulation, struct weir_names *names, char *const *paths,
                         int path_count, void (*progress)(void *self, uint64_t done_bytes, uint64_t all_bytes)) {
    struct weir_simulation_state *state = calloc(1, sizeof *state);
    struct weir_stored stored = {.self = simulation,
                                 .names = names,
                                 .wait_ns = 10 * WEIR_S,
                                 .quiet_ns = WEIR_S,
                                 .decided = on_decided,
                                 .tick = on_tick,
                                 .gap = on_gap,
                                 .progress = progress,
                                 .command = "policy simulate"};
    bool learns = false;
    simulation->state = state;
    simulation->failed = state == NULL;
    if (state == NULL) return false;
    for (int p = 0; p < simulation->policy_count; p++)
        learns = learns || weir_proxies_work_out(weir_policy_proxies(simulation->policies[p].policy));
    bool ok = begin(simulation, names);
    if (ok && learns) {
        stored.quiet = true;
        ok = weir_stored_run(&stored, paths, path_count, &simulation->counts) && !simulation->failed;
        stored.quiet = false;
        state->steps_done = 0;
        for (int p = 0; p < simulation->policy_count; p++) {
            struct simulated *simulated = &state->simulated[p];
            simulated->window_spans = simulated->window_time = simulated->step_spans = 0;
        }
    }
    state->counts = true;
    if (ok) ok = weir_stored_run(&stored, paths, path_count, &simulation->counts) && !simulation->failed;
    if (ok && !(simulation->seconds > 0) && simulation->counts.last_ns > simulation->counts.first_ns)
        simulation->seconds = (double)(simulation->counts.last_ns - simulation->counts.first_ns) / 1e9;
    end(simulation);
    return ok;
}

void weir_simulation_free(struct weir_simulation *simulation) {
    free(simulation->rows);
    simulation->rows = NULL;
    simulation->row_count = 0;
}

double weir_simulated_error(double counted, double unseen, double variance) {
    if (!(counted > 0)) return -1;
    if (unseen >= counted * (1 - 1e-9)) return HUGE_VAL;
    return sqrt(variance) / (counted - unseen);
}

/* ---- order ---- */

void weir_simulated_add(struct weir_simulated_row *sum, const struct weir_simulated_row *row) {
    struct weir_simulated_sums *to[] = {&sum->recorded, &sum->policies[0], &sum->policies[1]};
    const struct weir_simulated_sums *from[] = {&row->recorded, &row->policies[0], &row->policies[1]};
    sum->offered += row->offered;
    sum->errors += row->errors;
    for (int i = 0; i < 1 + WEIR_SIMULATED; i++) {
        to[i]->traces += from[i]->traces;
        to[i]->spans += from[i]->spans;
        to[i]->bytes += from[i]->bytes;
        to[i]->variance += from[i]->variance;
        to[i]->errors_variance += from[i]->errors_variance;
        to[i]->unseen += from[i]->unseen;
        to[i]->errors_unseen += from[i]->errors_unseen;
    }
}

static int by_name(const void *a, const void *b) {
    const struct weir_simulated_row *x = a, *y = b;
    return x->service < y->service ? -1 : x->service > y->service;
}

struct place {
    const struct weir_simulated_row *row, *service;
    const struct weir_names *names;
};

static int by_spans(double x, double y) {
    return (x < y) - (x > y);
}

static int as_drawn(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->row->service != y->row->service) {
        int spans = by_spans(x->service->policies[0].spans, y->service->policies[0].spans);
        if (spans != 0) return spans;
        return strcmp(weir_names_text(x->names, x->row->service, NULL),
                      weir_names_text(y->names, y->row->service, NULL));
    }
    if (x->row == x->service || y->row == y->service) return x->row == x->service ? -1 : 1;
    int spans = by_spans(x->row->policies[0].spans, y->row->policies[0].spans);
    if (spans != 0) return spans;
    return strcmp(weir_names_text(x->names, x->row->operation, NULL),
                  weir_names_text(y->names, y->row->operation, NULL));
}

bool weir_simulation_sort(struct weir_simulation *simulation, const struct weir_names *names) {
    uint32_t count = simulation->row_count, total = 0, from = 0;
    if (count == 0) return true;
    struct weir_simulated_row *rows = calloc(2u * count, sizeof *rows), *sorted = calloc(2u * count, sizeof *sorted);
    struct place *places = calloc(2u * count, sizeof *places);
    if (rows == NULL || sorted == NULL || places == NULL) {
        free(rows);
        free(sorted);
        free(places);
        return false;
    }
    qsort(simulation->rows, count, sizeof *rows, by_name);
    while (from < count) {
        struct weir_simulated_row *sum = &rows[total];
        sum->service = simulation->rows[from].service;
        for (places[total] = (struct place){sum, sum, names}, total++;
             from < count && simulation->rows[from].service == sum->service; from++, total++) {
            rows[total] = simulation->rows[from];
            places[total] = (struct place){&rows[total], sum, names};
            weir_simulated_add(sum, &rows[total]);
        }
    }
    qsort(places, total, sizeof *places, as_drawn);
    for (uint32_t i = 0; i < total; i++)
        sorted[i] = *places[i].row;
    free(simulation->rows);
    free(rows);
    free(places);
    simulation->rows = sorted;
    simulation->row_count = total;
    return true;
}
