/* The rates of the file, as long as nothing works others out. */
#include "collector/sample/control.h"

#include <stdlib.h>

struct weir_control {
    const struct weir_names *names;
    const struct weir_proxies *proxies;
    uint64_t policy;
};

struct weir_control *weir_control_new(const struct weir_names *names) {
    struct weir_control *control = calloc(1, sizeof *control);
    if (control != NULL) control->names = names;
    return control;
}

void weir_control_set(struct weir_control *control, const struct weir_proxies *proxies, uint64_t policy) {
    control->proxies = proxies;
    control->policy = policy;
}

void weir_control_adopt(struct weir_control *control, uint32_t service, uint32_t operation, double rate) {
    (void)control;
    (void)service;
    (void)operation;
    (void)rate;
}

struct weir_plan *weir_control_step(struct weir_control *control, const struct weir_control_input *input) {
    return weir_plan_of(control->proxies, control->policy, control->names, input->now_unix_ns);
}

void weir_control_each(const struct weir_control *control, void (*row)(void *self, const struct weir_control_view *),
                       void *self) {
    (void)control;
    (void)row;
    (void)self;
}

void weir_control_free(struct weir_control *control) {
    free(control);
}
