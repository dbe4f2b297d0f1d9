#include "collector/cli/explain/explain.h"
#include "collector/cli/text.h"
#include "collector/core/hex.h"
#include "collector/core/wire.h"

#include <stdio.h>
#include <string.h>

bool weir_explain_id(const char *text, uint64_t *trace_hi, uint64_t *trace_lo) {
    uint8_t bytes[16] = {0};
    size_t size = strlen(text);
    if ((size != 16 && size != 32) || !weir_hex_decode(text, size, bytes + (size == 16 ? 8 : 0))) return false;
    *trace_hi = *trace_lo = 0;
    for (int i = 0; i < 8; i++) {
        *trace_hi = *trace_hi << 8 | bytes[i];
        *trace_lo = *trace_lo << 8 | bytes[8 + i];
    }
    return (*trace_hi | *trace_lo) != 0;
}

static void put_head(const struct weir_stored_trace *trace, const struct weir_names *names, bool colour, bool unicode,
                     struct weir_buffer *out) {
    char id[WEIR_TEXT_ID_BYTES], text[WEIR_TEXT_BYTES];
    weir_text_trace_id(trace->trace_hi, trace->trace_lo, id);
    weir_text_colour(out, colour, "1");
    weir_buffer_text(out, id);
    weir_text_colour(out, colour, "0");
    weir_buffer_byte(out, ' ');
    uint32_t columns = weir_text_put(out, weir_names_text(names, trace->service, NULL), 20, unicode);
    weir_buffer_byte(out, ' ');
    weir_text_put(out, weir_names_text(names, trace->operation, NULL), 45 - columns, unicode);
    weir_buffer_text(out, "\n  ");
    weir_text_count(trace->spans, text);
    weir_buffer_printf(out, "%s span%s", text, trace->spans == 1 ? "" : "s");
    if (trace->parts[0].facts.end_ns != 0) {
        weir_text_duration(weir_trace_duration_ns(&trace->parts[0].facts), unicode, text);
        weir_buffer_printf(out, ", %s", text);
    }
    weir_text_count(trace->errors, text);
    if (trace->errors > 0) weir_buffer_printf(out, ", %s with an error", text);
    if (!trace->has_root) weir_buffer_text(out, ", no root");
    weir_buffer_byte(out, '\n');
}

static void put_mark(const struct weir_stored_trace *trace, bool unicode, struct weir_buffer *out) {
    char text[WEIR_TEXT_BYTES];
    if (trace->has_mark) {
        weir_buffer_text(out, "  was kept by rule ");
        weir_text_put(out, trace->rule, 40, unicode);
        if (trace->mark_weight > 0) {
            weir_text_weight(trace->mark_weight, text);
            weir_buffer_printf(out, ", and stands for %s", text);
        }
        weir_buffer_byte(out, '\n');
    } else {
        weir_text_weight(weir_stored_weight(trace->prior, trace->threshold), text);
        weir_buffer_printf(out, "  says of no rule that kept it; it stands for %s\n", text);
    }
}

/* Whether the rule that matched keeps it: its rate is of the trace's own R; what hangs on other traces is said so. */
static void put_fate(const struct weir_keep *keep, uint16_t r, const struct weir_trace *facts, bool colour,
                     struct weir_buffer *out) {
    bool fixed = r >= keep->rule_count;
    // cppcheck-suppress arrayIndexOutOfBoundsCond; WEIR_RULE_NONE and WEIR_RULE_FORCED are fixed
    const struct weir_keep_rule *rule = fixed ? NULL : &keep->rules[r];
    weir_buffer_text(out, "  would be ");
    if (fixed || rule->rate >= 1) {
        weir_text_colour(out, colour, "32");
        weir_buffer_text(out, "kept");
    } else {
        bool kept = facts->randomness >= rule->threshold;
        weir_text_colour(out, colour, kept ? "32" : "31");
        weir_buffer_text(out, kept ? "kept" : "left out");
    }
    weir_text_colour(out, colour, "0");
    weir_buffer_printf(out, " by rule %s", weir_keep_rule_name(keep, r));
    if (r == WEIR_RULE_NONE) weir_buffer_text(out, ": no rule matches");
    if (r == WEIR_RULE_FORCED) weir_buffer_text(out, ": its sender asked for it (debug, force-trace)");
    weir_buffer_byte(out, '\n');
    if (fixed) return;
    if (rule->rate > 0 && rule->rate < 1) {
        double whole = (double)WEIR_THRESHOLD_MAX;
        weir_buffer_printf(out, "    rate %.6g: the trace's randomness is %.4f, and from %.4f on it is kept\n",
                           rule->rate, (double)facts->randomness / whole, (double)rule->threshold / whole);
    }
    if (rule->rate == 0) weir_buffer_text(out, "    rate 0: it keeps nothing\n");
    if (facts->randomness < rule->threshold) return;
    if (rule->dynamic != NULL)
        weir_buffer_text(out, "    if the rate of its key lets it: that hangs on other traces (weir replay)\n");
    if (rule->max_traces_per_second > 0)
        weir_buffer_printf(out, "    if it is among the %g of its second: that hangs on other traces (weir replay)\n",
                           rule->max_traces_per_second);
}

void weir_explain_trace(const struct weir_stored_trace *trace, const struct weir_policy *policy,
                        const struct weir_names *names, bool colour, bool unicode, struct weir_buffer *out) {
    const struct weir_stored_part *part = &trace->parts[0];
    const struct weir_keep *keep = policy == NULL ? NULL : weir_policy_keep_part(policy);
    put_head(trace, names, colour, unicode, out);
    put_mark(trace, unicode, out);
    if (policy == NULL) return;
    if (part->spans < trace->spans)
        weir_buffer_printf(out, "  collector: would leave out %u of its spans before any rule\n",
                           trace->spans - part->spans);
    if (part->spans == 0) return;
    if (keep == NULL) {
        weir_buffer_text(out, "  would be kept: the policy has no keep: part\n");
        return;
    }
    uint64_t dry;
    uint16_t first = weir_keep_match(keep, &part->facts, part->facts.passed, &dry);
    put_fate(keep, first, &part->facts, colour, out);
    for (uint16_t r = 0; r < keep->rule_count; r++) {
        const struct weir_keep_rule *rule = &keep->rules[r];
        weir_buffer_printf(out, "  rule %s%s%s\n", rule->name, rule->dry_run ? " (dry run)" : "",
                           r == first ? ": the first that matches" : "");
        weir_keep_explain(keep, r, &part->facts, part->facts.passed, 4, out);
        uint32_t behind = keep->rule_count - r - 1u;
        if (r == first && behind > 0) {
            weir_buffer_printf(out, "  %u rule%s behind it %s not asked\n", behind, behind == 1 ? "" : "s",
                               behind == 1 ? "is" : "are");
            break;
        }
        if (first == WEIR_RULE_FORCED) break;
    }
}
