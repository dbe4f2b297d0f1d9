#include "collector/sample/keep.h"

#include "collector/sample/keep_inside.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

/* ---- one span more ---- */

static uint64_t tests_passed(const struct weir_keep *keep, struct weir_span_facts *facts,
                             const struct weir_batch *batch, uint32_t i) {
    facts->inside = keep->inside;
    if (keep->asks_attributes) weir_span_facts_read(facts, batch, i);
    uint64_t passed = 0;
    for (uint32_t test = 0; test < keep->test_count; test++)
        passed |= (uint64_t)weir_span_test(keep->inside->tests[test].node, facts) << test;
    return passed;
}

static uint32_t hash_of(const struct weir_value *value) {
    if (value->number == 0) return 0;
    uint64_t hash =
        value->text != NULL ? XXH3_64bits(value->text, value->bits) : XXH3_64bits(&value->bits, sizeof value->bits);
    return (uint32_t)(hash >> 32) | 1;
}

static void add_values(struct weir_trace *trace, const struct weir_span_facts *facts, bool is_root) {
    const struct weir_keep_inside *inside = facts->inside;
    for (uint32_t i = 0; i < inside->value_count; i++) {
        uint32_t hash = hash_of(&facts->values[inside->values[i]]);
        if (hash != 0 && (is_root || trace->values[i] == 0)) trace->values[i] = hash;
    }
}

void weir_trace_add(struct weir_trace *trace, const struct weir_keep *keep, const struct weir_keep *shadow,
                    const struct weir_names *names, const struct weir_batch *batch, uint32_t i) {
    const struct weir_span *span = &batch->spans[i];
    bool first = trace->span_count++ == 0, is_root = (span->flags & WEIR_SPAN_ROOT) != 0;
    if (first) {
        trace->trace_lo = span->trace_lo;
        trace->randomness = span->randomness;
    }
    if (first || trace->thinned != 0) {
        uint8_t thinned = weir_trace_thinned(span->threshold);
        if (first || thinned < trace->thinned) trace->thinned = thinned;
    }
    if (trace->trace_hi == 0) trace->trace_hi = span->trace_hi;
    if ((span->flags & WEIR_SPAN_RV) != 0 && (trace->flags & WEIR_TRACE_RV) == 0) {
        trace->randomness = span->randomness;
        trace->flags |= WEIR_TRACE_RV;
    }
    if (span->start_ns != 0) {
        uint64_t end_ns = span->start_ns + span->duration_ns;
        if (trace->start_ns == 0 || span->start_ns < trace->start_ns) trace->start_ns = span->start_ns;
        if (end_ns > trace->end_ns) trace->end_ns = end_ns;
    }
    if (is_root || first) {
        trace->service = span->service;
        trace->operation = span->operation;
        trace->http_status = span->http_status;
    }
    if (is_root) trace->flags |= WEIR_TRACE_ROOT;
    if ((span->flags & WEIR_SPAN_FORCED) != 0) trace->flags |= WEIR_TRACE_FORCED;
    if (span->status == WEIR_STATUS_ERROR) trace->flags |= WEIR_TRACE_ERROR;

    struct weir_span_facts facts;
    facts.span = span;
    facts.names = names;
    facts.sampled = false;
    if (keep->test_count > 0 || keep->asks_attributes) {
        trace->passed |= tests_passed(keep, &facts, batch, i);
        if (keep->inside->value_count > 0) add_values(trace, &facts, is_root);
    }
    if (facts.sampled) trace->flags |= WEIR_TRACE_SAMPLED;
    if (shadow != NULL && shadow->test_count > 0) trace->shadow_passed |= tests_passed(shadow, &facts, batch, i);
}

/* ---- the decision ---- */

static bool in_a_range(const struct weir_node *node, double value) {
    for (uint32_t i = 0; i < node->count; i++) {
        if (weir_range_has(&node->ranges[i], value)) return true;
    }
    return false;
}

static bool holds(const struct weir_node *node, const struct weir_trace *trace, uint64_t passed);

static bool all_hold(const struct weir_node *node, const struct weir_trace *trace, uint64_t passed) {
    for (const struct weir_node *child = node->first; child != NULL; child = child->next) {
        if (!holds(child, trace, passed)) return false;
    }
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion): as deep as the file, which is bounded
static bool holds(const struct weir_node *node, const struct weir_trace *trace, uint64_t passed) {
    switch (node->kind) {
    case WEIR_NODE_ALL: return all_hold(node, trace, passed);
    case WEIR_NODE_NOT: return !all_hold(node, trace, passed);
    case WEIR_NODE_ANY:
        for (const struct weir_node *child = node->first; child != NULL; child = child->next) {
            if (holds(child, trace, passed)) return true;
        }
        return false;
    /* `error: false` and `sampled: false` speak of the trace: none of its spans is. */
    case WEIR_NODE_TEST: return ((passed >> node->bit & 1) != 0) == node->want;
    case WEIR_NODE_TRACE_DURATION: return in_a_range(node, (double)weir_trace_duration_ns(trace));
    case WEIR_NODE_SPAN_COUNT: return in_a_range(node, trace->span_count);
    default: return false; /* of a span */
    }
}

uint16_t weir_keep_match(const struct weir_keep *keep, const struct weir_trace *trace, uint64_t passed, uint64_t *dry) {
    *dry = 0;
    if ((trace->flags & WEIR_TRACE_FORCED) != 0) return WEIR_RULE_FORCED;
    for (uint32_t r = 0; r < keep->rule_count; r++) {
        const struct weir_node *when = keep->inside->when[r];
        if (when != NULL && !holds(when, trace, passed)) continue;
        if (!keep->rules[r].dry_run) return (uint16_t)r;
        if (*dry == 0) *dry |= 1ull << r;
    }
    return WEIR_RULE_NONE;
}

const char *weir_keep_rule_name(const struct weir_keep *keep, uint16_t rule) {
    if (rule == WEIR_RULE_FORCED) return "forced";
    return rule < keep->rule_count ? keep->rules[rule].name : "none";
}

/* ---- the same, said ---- */

/* Four digits, for people: 24.76ms */
static void say_duration(uint64_t ns, char *out, size_t out_size) {
    double value = (double)ns;
    const char *unit = ns < 1000 ? "ns" : ns < 1000000 ? "us" : ns < 1000000000 ? "ms" : "s";
    for (uint64_t size = 1000; size <= 1000000000 && ns >= size; size *= 1000)
        value /= 1000;
    snprintf(out, out_size, "%.4g%s", value, unit);
}

// NOLINTNEXTLINE(misc-no-recursion)
static void say(const struct weir_node *node, const struct weir_trace *trace, uint64_t passed, uint32_t indent,
                struct weir_buffer *out) {
    bool yes = holds(node, trace, passed);
    char seen[48] = "";
    weir_buffer_printf(out, "%*s%s ", (int)indent, "", yes ? "yes" : "no ");
    switch (node->kind) {
    case WEIR_NODE_ALL:
    case WEIR_NODE_ANY:
    case WEIR_NODE_NOT:
        weir_buffer_printf(out, " %s\n",
                           node->kind == WEIR_NODE_ALL   ? "all of"
                           : node->kind == WEIR_NODE_ANY ? "any of"
                                                         : "not");
        for (const struct weir_node *child = node->first; child != NULL; child = child->next)
            say(child, trace, passed, indent + 4, out);
        return;
    case WEIR_NODE_TRACE_DURATION: say_duration(weir_trace_duration_ns(trace), seen, sizeof seen); break;
    case WEIR_NODE_SPAN_COUNT: snprintf(seen, sizeof seen, "%u", trace->span_count); break;
    default:
        snprintf(seen, sizeof seen, "%s", (passed >> node->bit & 1) != 0 ? "a span is so" : "no span is so");
        break;
    }
    weir_buffer_printf(out, " %s (%s)\n", node->text, seen);
}

bool weir_keep_explain(const struct weir_keep *keep, uint16_t rule, const struct weir_trace *trace, uint64_t passed,
                       uint32_t indent, struct weir_buffer *out) {
    if (rule >= keep->rule_count) return false;
    const struct weir_node *when = keep->inside->when[rule];
    if (when == NULL) {
        weir_buffer_printf(out, "%*syes  no condition: matches every trace\n", (int)indent, "");
        return true;
    }
    for (const struct weir_node *child = when->first; child != NULL; child = child->next)
        say(child, trace, passed, indent, out);
    return holds(when, trace, passed);
}

void weir_keep_free(struct weir_keep *keep) {
    if (keep == NULL) return;
    struct weir_keep_inside *inside = keep->inside;
    for (uint32_t r = 0; r < WEIR_KEEP_RULES_MAX; r++) {
        free((char *)(uintptr_t)keep->rules[r].name);
        free(keep->rules[r].dynamic);
    }
    if (inside != NULL) {
        for (struct weir_node *node = inside->made, *before; node != NULL; node = before) {
            before = node->made_before;
            for (uint32_t i = 0; node->wanted != NULL && i < node->count; i++)
                free(node->wanted[i].text);
            free(node->wanted);
            free(node->ranges);
            pcre2_code_free(node->code);
            free(node);
        }
        for (uint32_t i = 0; i < WEIR_KEEP_TESTS_MAX; i++)
            free(inside->tests[i].source);
        for (uint32_t i = 0; i < inside->attribute_count; i++)
            free(inside->attributes[i]);
        pcre2_match_context_free(inside->match);
        free(inside);
    }
    free(keep);
}
