/* tail_explain.c - why a trace waits, was kept or left out: rule by rule, as far as the lane knows. */
#include "collector/sample/tail_inside.h"

static void explain_pending(const struct weir_tail *tail, const struct weir_pending *pending, struct weir_buffer *out) {
    const struct weir_keep *keep = tail->generations[pending->generation].keep;
    uint64_t age_ms = weir_tail_ms(tail, tail->now_ns) - pending->born_ms, dry;
    weir_buffer_printf(out, "waits: %u spans for %llu.%03llu s, %s\n", pending->trace.span_count,
                       (unsigned long long)(age_ms / 1000), (unsigned long long)(age_ms % 1000),
                       pending->state == WEIR_PENDING_LIMITED          ? "for its rule's window to end"
                       : (pending->trace.flags & WEIR_TRACE_ROOT) != 0 ? "its root has ended"
                                                                       : "its root has not come");
    uint16_t now = weir_keep_match(keep, &pending->trace, pending->trace.passed, &dry);
    for (uint16_t r = 0; r < keep->rule_count; r++) {
        weir_buffer_printf(out, "rule %s%s%s\n", keep->rules[r].name, keep->rules[r].dry_run ? " (dry run)" : "",
                           r == now ? ": the first that matches now" : "");
        weir_keep_explain(keep, r, &pending->trace, pending->trace.passed, 2, out);
    }
    if (now >= keep->rule_count) weir_buffer_printf(out, "rule %s: as it is now\n", weir_keep_rule_name(keep, now));
}

bool weir_tail_explain(const struct weir_tail *tail, uint64_t trace_hi, uint64_t trace_lo, uint64_t now_ns,
                       struct weir_buffer *out) {
    ((struct weir_tail *)(uintptr_t)tail)->now_ns = now_ns;
    uint32_t slot = weir_pending_find(&tail->pendings, trace_hi, trace_lo);
    if (slot != WEIR_SLOT_NONE) {
        explain_pending(tail, weir_pending_at(&tail->pendings, slot), out);
        return true;
    }
    struct weir_verdict verdict;
    switch (weir_decisions_find(tail->decisions, trace_hi, trace_lo, &verdict)) {
    case WEIR_REMEMBERED_KEPT:
        weir_buffer_printf(
            out, "kept by rule %s, one for %.6g\n",
            verdict.rule_name != WEIR_NAME_NONE ? weir_names_text(tail->env.names, verdict.rule_name, NULL) : "none",
            (double)WEIR_THRESHOLD_MAX / (double)(WEIR_THRESHOLD_MAX - verdict.threshold));
        return true;
    case WEIR_REMEMBERED_DROPPED:
        weir_buffer_text(out,
                         "left out (a fingerprint is all that is remembered; wrong for one trace in 500 million)\n");
        return true;
    default: return false;
    }
}
