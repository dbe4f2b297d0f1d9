/* control_trouble.c - what makes an operation worth more traces, or fewer: trouble, and what the tail leaves of it. */
#include "collector/sample/control_inside.h"

#include <math.h>

#define LATELY_S      15.0
#define USUAL_S       600.0
#define NEW_USUAL_S   3600.0 /* trouble that stays for hours is the usual */
#define USUAL_TRACES  50.0   /* fewer say nothing of what is usual */
#define LATELY_SLOW   30.0   /* roots: durations have long tails */
#define LATELY_ERRORS 5.0    /* error traces that came, at least */
#define DECIDED_LEAST 100.0
#define KEPT_ENOUGH   0.1 /* of ten traces the tail keeps one: nothing is saved at the source */
#define KEPT_LEAST    0.25

static void learn(struct control_health *health, const struct weir_control_load *load, double left) {
    health->roots = health->roots * left + load->roots;
    health->traces = health->traces * left + load->traces;
    health->errors = health->errors * left + load->errors;
    health->seconds = health->seconds * left + load->seconds;
}

static bool errs(const struct control_file *file, const struct control_trouble *trouble) {
    const struct control_health *lately = &trouble->lately, *usual = &trouble->usual;
    double share = lately->errors / lately->traces, before = usual->errors / usual->traces;
    double error = sqrt(fmax(share, 1 / lately->roots) / lately->roots);
    return share * lately->roots >= LATELY_ERRORS && share - before > file->errors && share - before > 3 * error;
}

static bool drags(const struct control_file *file, const struct control_trouble *trouble) {
    const struct control_health *lately = &trouble->lately, *usual = &trouble->usual;
    double mean = lately->seconds / lately->traces, before = usual->seconds / usual->traces;
    return lately->roots >= LATELY_SLOW && before > 0 && mean > file->slower_times * before;
}

void weir_control_trouble(struct weir_control *control, struct control_operation *op, double seconds) {
    struct control_trouble *trouble = &op->trouble;
    const struct weir_control_load *load = &op->step.sum;
    learn(&trouble->lately, load, exp(-seconds / LATELY_S));
    bool known = trouble->usual.roots >= USUAL_TRACES && trouble->usual.traces > 0 && trouble->lately.roots >= 1;
    bool now = known && (errs(&control->file, trouble) || drags(&control->file, trouble));
    if (now && control->file.incidents) trouble->until = control->now + control->file.incident_s;
    double memory_s = USUAL_S;
    struct weir_control_load part = *load;
    if (now) { /* what is not usual is learnt slowly */
        memory_s = NEW_USUAL_S;
        double less = USUAL_S / NEW_USUAL_S;
        part.roots *= less, part.traces *= less, part.errors *= less, part.seconds *= less;
    }
    learn(&trouble->usual, &part, exp(-seconds / memory_s));
}

/* A rate that the tail undoes is spans for nothing. But only what is sampled can be seen to be an error, so it is a
 * quarter at least. */
double weir_control_kept_weight(const struct control_operation *op) {
    if (op->decided < DECIDED_LEAST) return 1;
    return fmin(fmax(op->kept / op->decided / KEPT_ENOUGH, KEPT_LEAST), 1);
}
