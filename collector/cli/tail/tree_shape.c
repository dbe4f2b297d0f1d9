#define _GNU_SOURCE /* qsort_r */
#include "collector/cli/tail/tree_shape.h"

#include <stdlib.h>
#include <string.h>

#define NONE WEIR_TREE_NONE
enum {
    HOSTS_FAR = 64,    /* how far up a span of the same service is looked for */
    ALIKE_MAX = 3,     /* of spans that are alike, where not all are shown */
    FOLD_AT_LEAST = 2, /* to fold less saves no line: saying so takes one */
    APART = 10,        /* a tree so many lengths away from the first is there by its clock */
};

/* Sums of what senders say, kept within the range. */
static int64_t plus(int64_t a, int64_t b) {
    int64_t sum;
    if (__builtin_add_overflow(a, b, &sum)) return b < 0 ? INT64_MIN : INT64_MAX;
    return sum;
}
static int64_t minus(int64_t a, int64_t b) {
    int64_t rest;
    if (__builtin_sub_overflow(a, b, &rest)) return b < 0 ? INT64_MAX : INT64_MIN;
    return rest;
}

static int64_t end_of(const struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t node) {
    uint64_t duration = node < trace->count ? trace->spans[node].duration_ns : 0;
    return plus(shape->nodes[node].start_ns, duration > INT64_MAX ? INT64_MAX : (int64_t)duration);
}

/* ---- who is whose child ---- */

static int by_id(const void *a, const void *b, void *self) {
    const struct weir_tree_trace *trace = self;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    uint64_t left_id = trace->spans[left].id, right_id = trace->spans[right].id;
    if (left_id != right_id) return left_id < right_id ? -1 : 1;
    return left < right ? -1 : 1;
}

/* The first of `order` with this id, or count. */
static uint32_t lookup(const struct weir_tree_trace *trace, const uint32_t *order, uint64_t id) {
    uint32_t low = 0, high = trace->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (trace->spans[order[middle]].id < id) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low < trace->count && trace->spans[order[low]].id == id ? low : trace->count;
}

/* Of the spans with this id the one of the given kind; NONE. */
static uint32_t find_kind(const struct weir_tree_trace *trace, const uint32_t *order, uint64_t id,
                          enum weir_kind kind) {
    for (uint32_t i = lookup(trace, order, id); i < trace->count && trace->spans[order[i]].id == id; i++) {
        if (trace->spans[order[i]].kind == kind) return order[i];
    }
    return NONE;
}

/* The span that is meant by a parent's id. Two with one id are a client and its server: what has a parent on the same
 * service is the child of that side, else of the server. */
static uint32_t find_parent(const struct weir_tree_trace *trace, const uint32_t *order, uint32_t child) {
    uint64_t id = trace->spans[child].parent;
    uint32_t first = lookup(trace, order, id), found = NONE;
    for (uint32_t i = first; i < trace->count && trace->spans[order[i]].id == id; i++) {
        uint32_t one = order[i];
        if (one == child) continue;
        if (strcmp(trace->spans[one].service, trace->spans[child].service) == 0) return one;
        if (found == NONE || trace->spans[one].kind == WEIR_KIND_SERVER) found = one;
    }
    return found;
}

static void link_spans(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, const uint32_t *order) {
    for (uint32_t i = 0; i < trace->count; i++) {
        const struct weir_tree_span *span = &trace->spans[i];
        struct weir_tree_node *node = &shape->nodes[i];
        uint32_t client = NONE;
        if (span->kind == WEIR_KIND_SERVER) client = find_kind(trace, order, span->id, WEIR_KIND_CLIENT);
        if (client != NONE) {
            node->parent = client;
        } else if (span->parent != 0 && span->parent != span->id) {
            node->parent = find_parent(trace, order, i);
            if (node->parent == NONE) node->missing = span->parent;
        }
    }
}

static int by_missing(const void *a, const void *b, void *self) {
    const struct weir_tree_shape *shape = self;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    uint64_t left_id = shape->nodes[left].missing, right_id = shape->nodes[right].missing;
    if (left_id != right_id) return left_id < right_id ? -1 : 1;
    return left < right ? -1 : 1;
}

/* A node for each parent that is not here, so that its children stand together. `order` is used up. */
static void add_missing(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t *order) {
    uint32_t orphans = 0;
    for (uint32_t i = 0; i < trace->count; i++) {
        if (shape->nodes[i].missing != 0) order[orphans++] = i;
    }
    qsort_r(order, orphans, sizeof *order, by_missing, shape);
    for (uint32_t i = 0; i < orphans; i++) {
        uint64_t id = shape->nodes[order[i]].missing;
        if (i == 0 || id != shape->nodes[shape->count - 1].missing)
            shape->nodes[shape->count++] = (struct weir_tree_node){.parent = NONE, .missing = id};
        shape->nodes[order[i]].parent = shape->count - 1;
    }
    for (uint32_t i = 0; i < orphans; i++)
        shape->nodes[order[i]].missing = 0;
}

/* Cuts where parents go round. `seen` is zeroed, one a node. */
static void cut_circles(struct weir_tree_shape *shape, uint32_t *seen) {
    for (uint32_t i = 0; i < shape->count; i++) {
        uint32_t node = i;
        while (node != NONE && seen[node] == 0) {
            seen[node] = i + 1;
            node = shape->nodes[node].parent;
        }
        if (node == NONE || seen[node] != i + 1) continue;
        shape->nodes[node].parent = NONE;
        shape->nodes[node].circle = true;
    }
}

/* ---- the order of siblings ---- */

struct sorting {
    const struct weir_tree_shape *shape;
    const struct weir_tree_trace *trace;
};

/* The other way round, since siblings are put in front: what has no time last, and missing parents behind all roots. */
static int latest_first(const void *a, const void *b, void *self) {
    const struct sorting *sorting = self;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    const struct weir_tree_node *one = &sorting->shape->nodes[left], *other = &sorting->shape->nodes[right];
    uint32_t spans = sorting->trace->count;
    if ((left < spans) != (right < spans)) return left < spans ? 1 : -1;
    if (one->circle != other->circle) return one->circle ? -1 : 1;
    if (one->timed != other->timed) return one->timed ? 1 : -1;
    if (one->timed && one->start_ns != other->start_ns) return one->start_ns > other->start_ns ? -1 : 1;
    return left > right ? -1 : 1;
}

static void link_siblings(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t *order) {
    struct sorting sorting = {shape, trace};
    for (uint32_t i = 0; i < shape->count; i++) {
        order[i] = i;
        shape->nodes[i].child = shape->nodes[i].next = NONE;
    }
    qsort_r(order, shape->count, sizeof *order, latest_first, &sorting);
    shape->first = NONE;
    for (uint32_t i = 0; i < shape->count; i++) {
        struct weir_tree_node *node = &shape->nodes[order[i]];
        uint32_t *head = node->parent == NONE ? &shape->first : &shape->nodes[node->parent].child;
        node->next = *head;
        *head = order[i];
    }
}

uint32_t weir_tree_next(const struct weir_tree_shape *shape, uint32_t node) {
    if (shape->nodes[node].child != NONE) return shape->nodes[node].child;
    while (node != NONE && shape->nodes[node].next == NONE)
        node = shape->nodes[node].parent;
    return node == NONE ? NONE : shape->nodes[node].next;
}

/* ---- one clock ---- */

static bool is_possible(const struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t child,
                        int64_t start_ns) {
    uint32_t parent = shape->nodes[child].parent;
    if (start_ns < shape->nodes[parent].start_ns) return false;
    return trace->spans[child].kind != WEIR_KIND_SERVER || trace->spans[parent].kind != WEIR_KIND_CLIENT ||
           start_ns <= end_of(shape, trace, parent);
}

/* By how much the nearest span above that is on the same service was moved; false: none is. */
static bool same_host(const struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t node,
                      int64_t *moved_ns) {
    uint32_t up = shape->nodes[node].parent;
    for (unsigned far = 0; far < HOSTS_FAR && up < trace->count; far++, up = shape->nodes[up].parent) {
        if (strcmp(trace->spans[up].service, trace->spans[node].service) != 0) continue;
        *moved_ns = shape->nodes[up].moved_ns;
        return true;
    }
    return false;
}

/* Moves `node`, whose parent is a span with a time and stands right. */
static void move(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t child) {
    struct weir_tree_node *node = &shape->nodes[child];
    uint32_t parent = node->parent;
    int64_t said_ns = node->start_ns, with_parent = shape->nodes[parent].moved_ns, host;
    const struct weir_tree_span *span = &trace->spans[child];
    bool known = same_host(shape, trace, child, &host);
    /* In one process there is one clock, and what it says of its own work is taken as it is. */
    bool one_process = strcmp(trace->spans[parent].service, span->service) == 0 && span->kind != WEIR_KIND_SERVER &&
                       span->kind != WEIR_KIND_CONSUMER;
    if (one_process) host = with_parent;
    int64_t tries[] = {known || one_process ? host : 0, 0, with_parent};
    for (size_t i = 0; i < sizeof tries / sizeof tries[0]; i++) {
        node->moved_ns = tries[i];
        node->start_ns = plus(said_ns, tries[i]);
        if (one_process || is_possible(shape, trace, child, node->start_ns)) return;
    }
    int64_t begins = shape->nodes[parent].start_ns, room = minus(end_of(shape, trace, parent), begins);
    int64_t length = minus(end_of(shape, trace, child), node->start_ns);
    node->start_ns = plus(begins, length < room ? (room - length) / 2 : 0);
    node->moved_ns = minus(node->start_ns, said_ns);
}

static void align_clocks(struct weir_tree_shape *shape, const struct weir_tree_trace *trace) {
    for (uint32_t i = shape->first; i != NONE; i = weir_tree_next(shape, i)) {
        struct weir_tree_node *node = &shape->nodes[i];
        uint32_t parent = node->parent;
        node->depth = parent == NONE ? 0 : shape->nodes[parent].depth + 1;
        if (!node->timed || parent == NONE || parent >= trace->count || !shape->nodes[parent].timed) continue;
        move(shape, trace, i);
    }
}

/* From `node` to the last below it. False: nothing there has a time. */
static bool extent(const struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t node,
                   int64_t *start_ns, int64_t *end_ns) {
    uint32_t behind = shape->nodes[node].next;
    bool any = false;
    for (uint32_t i = node; i != NONE && i != behind; i = weir_tree_next(shape, i)) {
        if (!shape->nodes[i].timed) continue;
        int64_t end = end_of(shape, trace, i);
        if (!any || shape->nodes[i].start_ns < *start_ns) *start_ns = shape->nodes[i].start_ns;
        if (!any || end > *end_ns) *end_ns = end;
        any = true;
    }
    return any;
}

/* Trees that are far from the first would press it to a point on the axis: they begin where it does, and say so. */
static void align_trees(struct weir_tree_shape *shape, const struct weir_tree_trace *trace) {
    int64_t start = 0, end = 0, from = 0, to = 0;
    bool any = false;
    for (uint32_t tree = shape->first; tree != NONE; tree = shape->nodes[tree].next) {
        if (!extent(shape, trace, tree, &from, &to)) continue;
        if (!any) {
            start = from;
            end = to;
        }
        int64_t longer = minus(to, from) > minus(end, start) ? minus(to, from) : minus(end, start);
        int64_t far = longer < INT64_MAX / APART ? longer * APART : INT64_MAX / 2;
        if (any && far > 0 && (from < minus(start, far) || from > plus(end, far))) {
            uint32_t behind = shape->nodes[tree].next;
            for (uint32_t i = tree; i != NONE && i != behind; i = weir_tree_next(shape, i)) {
                shape->nodes[i].start_ns = plus(shape->nodes[i].start_ns, minus(start, from));
                shape->nodes[i].moved_ns = plus(shape->nodes[i].moved_ns, minus(start, from));
            }
        }
        any = true;
    }
    any = false;
    for (uint32_t i = 0; i < trace->count; i++) {
        if (!shape->nodes[i].timed) continue;
        int64_t last = end_of(shape, trace, i);
        if (!any || shape->nodes[i].start_ns < shape->start_ns) shape->start_ns = shape->nodes[i].start_ns;
        if (!any || last > shape->end_ns) shape->end_ns = last;
        any = true;
    }
}

/* ---- which are shown ---- */

static int by_weight(const void *a, const void *b, void *self) {
    const struct weir_tree_trace *trace = self;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    const struct weir_tree_span *one = &trace->spans[left], *other = &trace->spans[right];
    if (one->error != other->error) return one->error ? -1 : 1;
    if (one->duration_ns != other->duration_ns) return one->duration_ns > other->duration_ns ? -1 : 1;
    return left < right ? -1 : 1;
}

/* Shows the node and what is above it, when all of that still fits. */
static void show(struct weir_tree_shape *shape, uint32_t node, uint32_t *room) {
    uint32_t cost = 0;
    for (uint32_t up = node; up != NONE && !shape->nodes[up].shown && cost <= *room; up = shape->nodes[up].parent)
        cost++;
    if (cost > *room) return;
    *room -= cost;
    for (uint32_t up = node; up != NONE && !shape->nodes[up].shown; up = shape->nodes[up].parent)
        shape->nodes[up].shown = true;
}

static void count_folded(struct weir_tree_shape *shape, const struct weir_tree_trace *trace) {
    uint32_t host = NONE; /* the shown node that the hidden ones belong to */
    for (uint32_t i = shape->first; i != NONE; i = weir_tree_next(shape, i)) {
        const struct weir_tree_node *node = &shape->nodes[i];
        if (node->shown) continue;
        if (node->parent == NONE || shape->nodes[node->parent].shown) host = node->parent;
        if (i >= trace->count) continue;
        bool error = trace->spans[i].error;
        if (host == NONE) {
            shape->folded_roots++;
            shape->folded_roots_error += error;
        } else {
            shape->nodes[host].folded++;
            shape->nodes[host].folded_error += error;
        }
    }
}

/* Those that are alike (parent, names, error or not) side by side, the longest first. */
static int by_kin(const void *a, const void *b, void *self) {
    const struct sorting *sorting = self;
    uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;
    uint32_t parent = sorting->shape->nodes[left].parent, other_parent = sorting->shape->nodes[right].parent;
    if (parent != other_parent) return parent < other_parent ? -1 : 1;
    const struct weir_tree_span *one = &sorting->trace->spans[left], *other = &sorting->trace->spans[right];
    int names = strcmp(one->operation, other->operation);
    if (names == 0) names = strcmp(one->service, other->service);
    return names != 0 ? names : by_weight(a, b, (void *)(uintptr_t)sorting->trace);
}

static bool is_kin(const struct sorting *sorting, uint32_t left, uint32_t right) {
    const struct weir_tree_span *one = &sorting->trace->spans[left], *other = &sorting->trace->spans[right];
    return sorting->shape->nodes[left].parent == sorting->shape->nodes[right].parent && one->error == other->error &&
           strcmp(one->operation, other->operation) == 0 && strcmp(one->service, other->service) == 0;
}

/* Takes out of order[0 .. count) what is one more of the same: a thousand queries in a loop are told by a few. */
static uint32_t thin_out(const struct sorting *sorting, uint32_t *order, uint32_t count) {
    uint32_t left = 0, alike = 0, before = NONE;
    qsort_r(order, count, sizeof *order, by_kin, (void *)(uintptr_t)sorting);
    for (uint32_t i = 0; i < count; i++) {
        alike = before != NONE && is_kin(sorting, before, order[i]) ? alike + 1 : 0;
        before = order[i];
        if (alike < ALIKE_MAX) order[left++] = before;
    }
    return left;
}

static void choose(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t max, uint32_t *order) {
    bool all = max == 0 || shape->count <= max + FOLD_AT_LEAST;
    for (uint32_t i = 0; i < shape->count; i++)
        shape->nodes[i].shown = all;
    if (all) return;
    uint32_t room = max, roots = max / 2 + 1;
    for (uint32_t tree = shape->first; tree != NONE && roots > 0; tree = shape->nodes[tree].next, roots--)
        show(shape, tree, &room);
    for (uint32_t i = 0; i < trace->count; i++)
        order[i] = i;
    uint32_t count = thin_out(&(struct sorting){shape, trace}, order, trace->count);
    qsort_r(order, count, sizeof *order, by_weight, (void *)(uintptr_t)trace);
    for (uint32_t i = 0; i < count && room > 0; i++)
        show(shape, order[i], &room);
    count_folded(shape, trace);
}

bool weir_tree_shape_new(struct weir_tree_shape *shape, const struct weir_tree_trace *trace, uint32_t max) {
    *shape = (struct weir_tree_shape){.first = NONE};
    size_t most = (size_t)trace->count * 2 + 1; /* each span may lack a parent of its own */
    shape->nodes = calloc(most, sizeof *shape->nodes);
    uint32_t *order = calloc(most, sizeof *order), *seen = calloc(most, sizeof *seen);
    bool ok = shape->nodes != NULL && order != NULL && seen != NULL;
    if (ok) {
        shape->count = trace->count;
        for (uint32_t i = 0; i < trace->count; i++) {
            const struct weir_tree_span *span = &trace->spans[i];
            shape->nodes[i].parent = NONE;
            shape->nodes[i].timed = span->offset_ns != WEIR_TREE_NO_OFFSET;
            shape->nodes[i].start_ns = shape->nodes[i].timed ? span->offset_ns : 0;
            order[i] = i;
        }
        qsort_r(order, trace->count, sizeof *order, by_id, (void *)(uintptr_t)trace);
        link_spans(shape, trace, order);
        add_missing(shape, trace, order);
        cut_circles(shape, seen);
        link_siblings(shape, trace, order);
        align_clocks(shape, trace);
        align_trees(shape, trace);
        link_siblings(shape, trace, order); /* by the times as they are now */
        choose(shape, trace, max, order);
    } else {
        weir_tree_shape_free(shape);
    }
    free(order);
    free(seen);
    return ok;
}

void weir_tree_shape_free(struct weir_tree_shape *shape) {
    free(shape->nodes);
    shape->nodes = NULL;
}
