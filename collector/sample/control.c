#include "collector/sample/control_inside.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { OPERATION_HEADS = 1 << 14, SERVICE_HEADS = 1 << 11 };

#define IDLE_S       60.0   /* then another name may have the place */
#define FORGET_S     3600.0 /* then nothing is known any more */
#define SIZE_S       60.0
#define SIZE_ROOTS   20.0 /* of so many at least the size of traces is remembered */
#define SIZE_VARIES  2.0  /* of traces of one operation: E[n^2] / E[n]^2, of a geometric distribution */
#define TAIL_S       300.0
#define TAIL_DECIDED 100.0
#define NUMBER_MAX   1e15
#define STEP_S_MAX   3600.0
#define KEPT_S       45.0 /* as long as a load that fell is held */

/* ---- tables ---- */

static uint32_t mix(uint32_t a, uint32_t b) {
    uint64_t hash = ((uint64_t)a << 32 | b) * 0x9e3779b97f4a7c15ull;
    return (uint32_t)(hash >> 40);
}

static struct control_service *find_service(struct weir_control *control, uint32_t name) {
    uint32_t at = control->service_heads[mix(name, 0) % SERVICE_HEADS];
    while (at != CONTROL_NONE && control->services[at].name != name)
        at = control->services[at].next_of_hash;
    return at == CONTROL_NONE ? NULL : &control->services[at];
}

static uint32_t *operation_head(struct weir_control *control, uint32_t service, uint32_t operation) {
    return &control->operation_heads[mix(service + 1, operation) % OPERATION_HEADS];
}

static struct control_operation *find_operation(struct weir_control *control, uint32_t service, uint32_t operation) {
    uint32_t at = *operation_head(control, service, operation);
    for (; at != CONTROL_NONE; at = control->operations[at].next_of_hash) {
        if (control->operations[at].service == service && control->operations[at].operation == operation)
            return &control->operations[at];
    }
    return NULL;
}

/* The array, for `wanted` and more; NULL: out of memory, and it is as it was. */
static void *grow(void *array, uint32_t *room, uint32_t wanted, size_t size) {
    if (wanted <= *room) return array;
    uint32_t more = *room < 32 ? 64 : *room * 2;
    if (more < wanted) more = wanted;
    void *grown = realloc(array, more * size);
    if (grown != NULL) *room = more;
    return grown;
}

static bool grow_operations(struct weir_control *control, uint32_t wanted) {
    struct control_operation *grown =
        grow(control->operations, &control->operation_room, wanted, sizeof *control->operations);
    if (grown != NULL) control->operations = grown;
    return grown != NULL || wanted == 0;
}

static const struct control_file_service *file_of(const struct weir_control *control, uint32_t name) {
    const struct control_file_service *own = weir_control_file_find(&control->file, name);
    return own != NULL ? own : &control->file.fallback;
}

static uint32_t index_of(const struct weir_control *control, const struct control_service *service) {
    return (uint32_t)(service - control->services);
}

static struct control_operation *take_place(struct weir_control *control) {
    if (control->free_operation != CONTROL_NONE) {
        struct control_operation *op = &control->operations[control->free_operation];
        control->free_operation = op->next_of_hash;
        return op;
    }
    if (control->operation_end == control->operation_room) return NULL;
    return &control->operations[control->operation_end++];
}

static void terms_of(const struct weir_control *control, const struct control_service *service,
                     struct control_operation *op) {
    const struct control_file_service *file = file_of(control, service->name);
    const struct control_rule *rule = weir_control_file_rule(file, op->operation);
    op->filed = rule != NULL;
    op->name = rule != NULL ? rule->name : op->operation;
    op->said = rule != NULL && rule->rate >= 0;
    op->terms = weir_control_terms(&control->file, file, rule);
}

static struct control_operation *add_operation(struct weir_control *control, uint32_t service_index,
                                               uint32_t operation) {
    struct control_operation *op = take_place(control);
    if (op == NULL) return NULL;
    struct control_service *service = &control->services[service_index];
    uint32_t *head = operation_head(control, service_index, operation), index = (uint32_t)(op - control->operations);
    *op = (struct control_operation){.service = service_index,
                                     .operation = operation,
                                     .next_of_hash = *head,
                                     .next_of_service = service->first,
                                     .follow.range = control->services[service_index].range,
                                     .seen = control->now};
    *head = index;
    service->first = index;
    service->operation_count++;
    control->operation_count++;
    weir_control_flow_start(&op->flow, control->now - service->began);
    terms_of(control, service, op);
    op->follow.told = op->follow.told_then = weir_control_told_rate(control, service, NULL);
    return op;
}

static void remove_operation(struct weir_control *control, struct control_operation *op) {
    uint32_t index = (uint32_t)(op - control->operations), *link = operation_head(control, op->service, op->operation);
    struct control_service *service = &control->services[op->service];
    while (*link != index)
        link = &control->operations[*link].next_of_hash;
    *link = op->next_of_hash;
    link = &service->first;
    while (*link != index)
        link = &control->operations[*link].next_of_service;
    *link = op->next_of_service;
    service->operation_count--;
    control->operation_count--;
    op->next_of_hash = control->free_operation;
    op->operation = WEIR_NAME_NONE;
    control->free_operation = index;
}

/* What the file names has a row, whether it comes or not. */
static bool add_filed(struct weir_control *control, uint32_t service_index) {
    const struct control_file_service *file = file_of(control, control->services[service_index].name);
    if (!grow_operations(control, control->operation_end + file->operation_count)) return false;
    for (uint32_t i = 0; i < file->operation_count; i++) {
        uint32_t operation = file->operations[i].operation;
        if (find_operation(control, service_index, operation) == NULL) add_operation(control, service_index, operation);
    }
    return true;
}

static bool add_service(struct weir_control *control, uint32_t name, uint32_t *index) {
    struct control_service *grown =
        grow(control->services, &control->service_room, control->service_count + 1, sizeof *control->services);
    if (grown == NULL) return false;
    control->services = grown;
    *index = control->service_count++;
    uint32_t *head = &control->service_heads[mix(name, 0) % SERVICE_HEADS];
    struct control_service *service = &control->services[*index];
    *service =
        (struct control_service){.name = name, .next_of_hash = *head, .first = CONTROL_NONE, .began = control->now};
    service->exact = (struct control_exact){.now = -1, .scale = 1};
    service->range = weir_control_range();
    *head = *index;
    service->filed = weir_control_file_find(&control->file, name) != NULL;
    service->budget = file_of(control, name)->budget;
    service->terms = weir_control_terms(&control->file, file_of(control, name), NULL);
    weir_control_flow_start(&service->flow, 0);
    return add_filed(control, *index);
}

/* ---- birth, file ---- */

struct weir_control *weir_control_new(const struct weir_names *names) {
    struct weir_control *control = calloc(1, sizeof *control);
    if (control == NULL) return NULL;
    control->names = names;
    control->alone = true;
    control->free_operation = CONTROL_NONE;
    control->operation_heads = malloc(OPERATION_HEADS * sizeof *control->operation_heads);
    control->service_heads = malloc(SERVICE_HEADS * sizeof *control->service_heads);
    uint32_t others;
    bool ok = control->operation_heads != NULL && control->service_heads != NULL;
    if (ok) {
        memset(control->operation_heads, 0xff, OPERATION_HEADS * sizeof *control->operation_heads);
        memset(control->service_heads, 0xff, SERVICE_HEADS * sizeof *control->service_heads);
        weir_control_flow_start(&control->flow, 0);
        ok = add_service(control, WEIR_NAME_NONE, &others);
    }
    if (ok) return control;
    weir_control_free(control);
    return NULL;
}

bool weir_control_set(struct weir_control *control, const struct weir_proxies *proxies, uint64_t policy) {
    struct control_file file;
    if (!weir_control_file_copy(&file, proxies)) return false;
    weir_control_file_free(&control->file);
    control->file = file;
    control->policy = policy;
    control->another = true;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        service->filed = weir_control_file_find(&control->file, service->name) != NULL;
        service->budget = file_of(control, service->name)->budget;
        service->terms = weir_control_terms(&control->file, file_of(control, service->name), NULL);
        service->told.kept_until = 0;
        CONTROL_EACH_OPERATION(control, service, op) {
            terms_of(control, service, op);
            op->told.kept_until = 0;
        }
        if (!add_filed(control, i)) return false;
    }
    for (uint32_t i = 0; i < control->file.service_count; i++) {
        uint32_t name = control->file.services[i].rule.name, index;
        if (find_service(control, name) == NULL && !add_service(control, name, &index)) return false;
    }
    return true;
}

static struct control_service *admit_service(struct weir_control *control, uint32_t name) {
    struct control_service *found = find_service(control, name);
    if (found != NULL) return found;
    uint32_t index;
    if (name == WEIR_NAME_OVERFLOW || control->service_count > CONTROL_SERVICES_MAX ||
        !add_service(control, name, &index))
        return &control->services[0];
    return &control->services[index];
}

void weir_control_adopt(struct weir_control *control, uint32_t service, uint32_t operation, double rate) {
    if (!(rate >= 0 && rate <= 1)) return;
    uint32_t index = index_of(control, admit_service(control, service));
    if (index == 0 && service != WEIR_NAME_NONE) return; /* no place for it: the default's rate is another */
    struct control_told *told = &control->services[index].told;
    if (operation != WEIR_NAME_NONE) {
        struct control_operation *op = find_operation(control, index, operation);
        if (op == NULL && grow_operations(control, control->operation_end + 1))
            op = add_operation(control, index, operation);
        if (op == NULL) return;
        told = &op->told;
    }
    *told = (struct control_told){.rate = weir_plan_round(rate),
                                  .since_unix_ns = control->now_unix_ns,
                                  .known = true,
                                  .row = true,
                                  .kept = weir_plan_round(rate),
                                  .kept_until = control->now + KEPT_S};
    control->another = true;
}

/* ---- loads ---- */

static struct control_operation *idle_operation(struct weir_control *control, struct control_service *service) {
    CONTROL_EACH_OPERATION(control, service, op) {
        if (!op->filed && !weir_control_is_rest(op) && control->now - op->seen > IDLE_S) return op;
    }
    return NULL;
}

/* Its own place, one of a name that does not come any more, or the one for all the rest. */
static struct control_operation *admit_operation(struct weir_control *control, uint32_t service_index,
                                                 uint32_t operation) {
    struct control_service *service = &control->services[service_index];
    if (service_index == 0 || operation == WEIR_NAME_NONE) operation = WEIR_NAME_OVERFLOW;
    struct control_operation *found = find_operation(control, service_index, operation);
    if (found != NULL) return found;
    bool full = service->operation_count >= CONTROL_OPERATIONS_MAX || control->operation_count >= CONTROL_ROWS_MAX;
    if (full && operation != WEIR_NAME_OVERFLOW) {
        struct control_operation *idle = service->full_at == control->now ? NULL : idle_operation(control, service);
        if (idle == NULL) {
            service->full_at = control->now;
            return admit_operation(control, service_index, WEIR_NAME_OVERFLOW);
        }
        remove_operation(control, idle);
    }
    return add_operation(control, service_index, operation);
}

static bool sound(double number) {
    return number >= 0 && number <= NUMBER_MAX;
}

static bool sound_load(const struct weir_control_load *load) {
    return sound(load->roots) && sound(load->traces) && sound(load->spans) && sound(load->bytes) &&
           sound(load->errors) && sound(load->seconds) && sound(load->kept) && sound(load->decided);
}

static void add_load(struct weir_control *control, const struct weir_control_load *load) {
    if (!sound_load(load)) return;
    struct control_service *service = admit_service(control, load->service);
    struct control_operation *op = admit_operation(control, index_of(control, service), load->operation);
    if (op == NULL) return;
    struct weir_control_load *sum = &op->step.sum;
    double traces = fmax(load->traces, load->roots); /* none stands for less than itself */
    sum->roots += load->roots, sum->traces += traces;
    sum->spans += load->spans, sum->bytes += load->bytes;
    sum->errors += load->errors, sum->seconds += load->seconds;
    sum->kept += load->kept, sum->decided += load->decided;
    if (load->roots > 0) op->step.variance += traces * traces / load->roots;
}

static double left_of(double now, double least, double seconds, double memory_s) {
    return now > least ? exp(-seconds / memory_s) : 1;
}

static void end_step(struct weir_control *control, struct control_operation *op, double seconds) {
    const struct weir_control_load *sum = &op->step.sum;
    if (sum->roots > 0) op->seen = control->now;
    weir_control_flow_add(&op->flow, sum->roots, sum->traces, op->step.variance, seconds);
    double left = left_of(op->roots, SIZE_ROOTS, seconds, SIZE_S);
    op->roots = op->roots * left + sum->roots;
    op->spans = op->spans * left + sum->spans;
    op->bytes = op->bytes * left + sum->bytes;
    left = left_of(op->decided, TAIL_DECIDED, seconds, TAIL_S);
    op->kept = op->kept * left + fmin(sum->kept, sum->decided);
    op->decided = op->decided * left + sum->decided;
    weir_control_trouble(control, op, seconds);
}

static struct control_sums sum_up(struct weir_control *control, const struct control_service *service, double *spans,
                                  double *spans_variance) {
    struct control_sums all = {0};
    CONTROL_EACH_OPERATION(control, service, op) {
        const struct control_step *step = &op->step;
        double size = weir_control_spans_of(op);
        all.roots += step->sum.roots, all.traces += step->sum.traces, all.variance += step->variance;
        *spans += step->sum.traces * size;
        *spans_variance += step->variance * size * size * SIZE_VARIES;
    }
    return all;
}

static void end_steps(struct weir_control *control, double seconds) {
    double roots = 0, spans = 0, variance = 0;
    for (uint32_t i = 0; i < control->service_count; i++) {
        struct control_service *service = &control->services[i];
        CONTROL_EACH_OPERATION(control, service, op) weir_control_follow(control, service, op, seconds);
        struct control_sums all = sum_up(control, service, &spans, &variance);
        roots += all.roots;
        weir_control_flow_add(&service->flow, all.roots, all.traces, all.variance, seconds);
        weir_control_exact(control, service, &all, seconds);
        for (uint32_t at = service->first, next; at != CONTROL_NONE; at = next) {
            struct control_operation *op = &control->operations[at];
            next = op->next_of_service;
            end_step(control, op, seconds);
            op->step = (struct control_step){0};
            if (!op->filed && control->now - op->seen > FORGET_S) remove_operation(control, op);
        }
    }
    weir_control_flow_add(&control->flow, roots, spans, variance, seconds);
}

static void take_services(struct weir_control *control, const struct weir_control_input *input) {
    for (uint32_t i = 0; i < control->service_count; i++)
        control->services[i].exact.now = -1;
    for (uint32_t i = 0; i < input->service_count; i++) {
        struct control_service *service = find_service(control, input->services[i].service);
        if (service == NULL) continue;
        service->exact.now = sound(input->services[i].exact) ? input->services[i].exact : -1;
        service->senders = input->services[i].senders;
        service->common = input->services[i].common;
    }
}

struct weir_plan *weir_control_step(struct weir_control *control, const struct weir_control_input *input) {
    /* Each load may be the first of its operation, or of the one for all the rest of its service. */
    uint32_t more = CONTROL_ROWS_MAX + CONTROL_SERVICES_MAX;
    uint32_t wanted = control->operation_end + (input->load_count < more ? input->load_count : more);
    if (!grow_operations(control, wanted)) return NULL;
    control->alone = !(input->share < 1);
    double seconds = input->seconds > 0 ? fmin(input->seconds, STEP_S_MAX) : 0;
    control->now += seconds;
    control->now_unix_ns = input->now_unix_ns;
    for (uint32_t i = 0; i < input->load_count; i++)
        add_load(control, &input->loads[i]);
    take_services(control, input);
    if (seconds > 0) end_steps(control, seconds);
    struct control_claim **claims = grow((void *)control->claims, &control->claim_room,
                                         control->operation_count + control->service_count, sizeof *claims);
    if (claims == NULL) return NULL;
    control->claims = claims;
    weir_control_share(control, seconds);
    struct weir_plan *plan = weir_control_tell(control);
    weir_control_ranges(control);
    return plan;
}

/* ---- view ---- */

static struct weir_control_view view_of(const struct weir_control *control, const struct control_operation *op) {
    const struct control_service *service = &control->services[op->service];
    double own = weir_control_told_rate(control, service, op), common = weir_control_told_rate(control, service, NULL);
    double part = weir_control_by_service(service, op);
    double spans = weir_control_spans_of(op), bytes = op->roots > 0 ? op->bytes / op->roots : 0;
    double came = op->offered * (own * (1 - part) * (1 - op->follow.shy) + common * part) + op->claim.fixed;
    return (struct weir_control_view){.service = service->name,
                                      .operation = op->operation,
                                      .offered = op->offered,
                                      .rate = own,
                                      .spans_offered = op->offered * spans,
                                      .bytes_offered = op->offered * bytes,
                                      .spans_per_second = came * spans,
                                      .bytes_per_second = came * bytes,
                                      .incident = op->trouble.until > control->now};
}

void weir_control_each(const struct weir_control *control, void (*row)(void *self, const struct weir_control_view *),
                       void *self) {
    for (uint32_t i = 0; i < control->service_count; i++) {
        const struct control_service *service = &control->services[i];
        struct weir_control_view sum = {.service = service->name,
                                        .rate = weir_control_told_rate(control, service, NULL)};
        for (uint32_t at = service->first; at != CONTROL_NONE; at = control->operations[at].next_of_service) {
            struct weir_control_view one = view_of(control, &control->operations[at]);
            sum.offered += one.offered;
            sum.spans_offered += one.spans_offered, sum.bytes_offered += one.bytes_offered;
            sum.spans_per_second += one.spans_per_second, sum.bytes_per_second += one.bytes_per_second;
            sum.incident = sum.incident || one.incident;
            row(self, &one);
        }
        if (service->senders > 0) sum.proxy_cpu = sum.spans_per_second * control->file.cost_ns / 1e9 / service->senders;
        row(self, &sum);
    }
}

uint32_t weir_control_services(const struct weir_control *control, uint32_t *names, uint32_t room) {
    uint32_t count = control->service_count - 1; /* the first is of all others */
    for (uint32_t i = 0; i < count && i < room; i++)
        names[i] = control->services[i + 1].name;
    return count;
}

void weir_control_free(struct weir_control *control) {
    if (control == NULL) return;
    weir_control_file_free(&control->file);
    weir_plan_unref(control->plan);
    free(control->operations);
    free(control->services);
    free(control->operation_heads);
    free(control->service_heads);
    free((void *)control->claims);
    free(control);
}
