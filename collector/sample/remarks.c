/* remarks.c - what a sampling.yaml may say and what can have no effect: conditions that an earlier rule has, rates
 * above one that everything met before. */
#include "collector/sample/keep_inside.h"
#include "collector/sample/policy.h"

#include <stdio.h>
#include <string.h>

static bool same_texts(const struct weir_node *a, const struct weir_node *b) {
    for (uint32_t i = 0; i < a->count; i++) {
        if (a->wanted[i].size != b->wanted[i].size || a->wanted[i].prefix != b->wanted[i].prefix ||
            a->wanted[i].is_number != b->wanted[i].is_number ||
            memcmp(a->wanted[i].text, b->wanted[i].text, a->wanted[i].size) != 0)
            return false;
    }
    return true;
}

static bool same_ranges(const struct weir_node *a, const struct weir_node *b) {
    for (uint32_t i = 0; i < a->count; i++) {
        const struct weir_range *x = &a->ranges[i], *y = &b->ranges[i];
        if (x->min != y->min || x->max != y->max || x->min_open != y->min_open || x->max_open != y->max_open)
            return false;
    }
    return true;
}

/* Of a trace's condition; what asks a span is a test, and equal tests have one bit. */
static bool same(const struct weir_node *a, const struct weir_node *b) {
    for (; a != NULL && b != NULL; a = a->next, b = b->next) {
        if (a->kind != b->kind || a->bit != b->bit || a->want != b->want || a->count != b->count ||
            (a->ranges == NULL) != (b->ranges == NULL) || (a->wanted == NULL) != (b->wanted == NULL))
            return false;
        if ((a->ranges != NULL && !same_ranges(a, b)) || (a->wanted != NULL && !same_texts(a, b))) return false;
        if (!same(a->first, b->first)) return false;
    }
    return a == b;
}

static bool is_like(const struct weir_node *a, const struct weir_node *b) { /* without their siblings */
    struct weir_node x = *a, y = *b;
    x.next = y.next = NULL;
    return same(&x, &y);
}

void weir_keep_remarks(const struct weir_keep *keep, uint64_t least,
                       void (*say)(void *self, int line, const char *text), void *self) {
    char text[200];
    for (uint32_t r = 0; r < keep->rule_count; r++) {
        const struct weir_keep_rule *rule = &keep->rules[r];
        const struct weir_node *when = keep->inside->when[r];
        bool asked = true;
        for (uint32_t e = 0; e < r && asked; e++) {
            const struct weir_keep_rule *earlier = &keep->rules[e];
            const struct weir_node *its = keep->inside->when[e];
            if (earlier->dry_run || (its != NULL && (when == NULL || !is_like(its, when)))) continue;
            asked = false;
            snprintf(text, sizeof text, "rule %s: is never asked: the rule %s in line %d %s", rule->name, earlier->name,
                     earlier->line, its == NULL ? "matches every trace" : "has the same condition");
            say(self, rule->line, text);
        }
        if (!asked || rule->rate >= 1 || rule->threshold > least) continue;
        snprintf(text, sizeof text,
                 "rule %s: its rate of %.6g has no effect: rates are of everything, and collector: leaves no more than "
                 "%.6g of anything",
                 rule->name, rule->rate, 1 - (double)least / (double)WEIR_THRESHOLD_MAX);
        say(self, rule->line, text);
    }
}
