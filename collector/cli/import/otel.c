/* otel.c - policies of the OpenTelemetry Collector's tail_sampling processor.
 * Source: opentelemetry-collector-contrib, processor/tailsamplingprocessor (README.md, config.go and
 * internal/sampling), as of v0.158, where `invert_match` turns one policy's answer round and no more.
 *
 * There: all policies are asked; a `drop` wins, else any that samples, else the trace goes. Here the first rule that
 * matches decides. So drops come first, then what keeps all it matches, then what keeps by a rate, the highest first,
 * then what has a limit, and at the end a rule that drops the rest. */
#include "collector/cli/import/ottl.h"
#include "collector/cli/import/write.h"
#include "collector/config/values.h"
#include "collector/core/clock.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* What one policy asks: conditions that all have to hold, and what is left of those that it matches. */
struct policy {
    struct import *import;
    struct import_rule *rule; /* whose policy it is, for notes */
    struct weir_buffer when;  /* each ending in "\n" */
    uint32_t count;
    double rate, limit;
    bool salted;
};

static void say(struct policy *policy, struct weir_buffer *condition) {
    weir_buffer_byte(condition, '\n');
    weir_buffer_put(&policy->when, condition->bytes, condition->size);
    policy->when.failed = policy->when.failed || condition->failed;
    policy->count++;
    weir_buffer_free(condition);
}

static void say_not(struct policy *policy, struct weir_buffer *condition, bool invert) {
    struct weir_buffer turned = {0};
    weir_buffer_byte(condition, 0);
    if (invert) {
        weir_buffer_printf(&turned, "not: { %s }", condition->failed ? "" : (const char *)condition->bytes);
    } else {
        weir_buffer_text(&turned, condition->failed ? "" : (const char *)condition->bytes);
    }
    turned.failed = turned.failed || condition->failed;
    weir_buffer_free(condition);
    say(policy, &turned);
}

__attribute__((format(printf, 3, 4))) static bool no_equal(struct policy *policy, const struct weir_yaml *at,
                                                           const char *format, ...) {
    va_list args;
    char text[400];
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    weir_import_note(policy->import, policy->rule, IMPORT_LEFT_OUT, at->line, "%s", text);
    return false;
}

/* ---- one policy ---- */

static bool latency(struct policy *policy, const struct weir_yaml *node) {
    double low = 0, high = 0;
    struct weir_buffer text = {0};
    weir_import_number(node, "threshold_ms", &low);
    weir_import_number(node, "upper_threshold_ms", &high);
    if (low < 0 || low > 1e9 || high < 0 || high > 1e9)
        return no_equal(policy, node, "latency: a threshold is out of range");
    /* It counts whole milliseconds, rounded down: more than 250 are 251 or more. */
    char bound[32];
    weir_value_print_duration(((uint64_t)low + 1) * WEIR_MS, bound, sizeof bound);
    weir_buffer_printf(&text, "duration: \">=%s\"", bound);
    say(policy, &text);
    if (high != 0) {
        weir_value_print_duration(((uint64_t)high + 1) * WEIR_MS, bound, sizeof bound);
        weir_buffer_printf(&text, "duration: \"<%s\"", bound);
        say(policy, &text);
    }
    return true;
}

static bool numeric(struct policy *policy, const struct weir_yaml *node) {
    const char *key = weir_import_text(node, "key");
    double low, high;
    /* 0 is as not said, there. */
    bool has_low = weir_import_number(node, "min_value", &low) && low != 0;
    bool has_high = weir_import_number(node, "max_value", &high) && high != 0;
    if (key == NULL || (!has_low && !has_high)) return no_equal(policy, node, "numeric_attribute: no key or no bound");
    struct weir_buffer text = {0};
    weir_buffer_text(&text, "attribute: { key: ");
    weir_import_quote(&text, key);
    weir_buffer_text(&text, ", range: { ");
    if (has_low) weir_buffer_text(&text, "min: ");
    if (has_low) weir_import_print(&text, low);
    if (has_high) weir_buffer_text(&text, has_low ? ", max: " : "max: ");
    if (has_high) weir_import_print(&text, high);
    weir_buffer_text(&text, " } }");
    say_not(policy, &text, weir_import_flag(node, "invert_match"));
    return true;
}

static bool boolean(struct policy *policy, const struct weir_yaml *node) {
    const char *key = weir_import_text(node, "key");
    if (key == NULL) return no_equal(policy, node, "boolean_attribute: no key");
    struct weir_buffer text = {0};
    weir_buffer_text(&text, "attribute: { key: ");
    weir_import_quote(&text, key);
    weir_buffer_printf(&text, ", equals: %s }", weir_import_flag(node, "value") ? "true" : "false");
    say_not(policy, &text, weir_import_flag(node, "invert_match"));
    return true;
}

/* All entries as one pattern: (?:a)|(?:b) */
static void put_pattern(struct weir_buffer *out, const struct weir_yaml *values, bool literal) {
    struct weir_buffer pattern = {0};
    if (literal) weir_buffer_text(&pattern, "\\A(?:");
    for (const struct weir_yaml *one = values->first; one != NULL; one = one->next) {
        if (one != values->first) weir_buffer_byte(&pattern, '|');
        if (!literal && values->count > 1) weir_buffer_text(&pattern, "(?:");
        if (literal) {
            weir_import_escape(&pattern, one->text);
        } else {
            weir_buffer_text(&pattern, one->text);
        }
        if (!literal && values->count > 1) weir_buffer_byte(&pattern, ')');
    }
    if (literal) weir_buffer_text(&pattern, ")\\z");
    weir_buffer_byte(&pattern, 0);
    if (!pattern.failed) weir_import_quote(out, (const char *)pattern.bytes);
    out->failed = out->failed || pattern.failed;
    weir_buffer_free(&pattern);
}

static bool text_attribute(struct policy *policy, const struct weir_yaml *node) {
    const char *key = weir_import_text(node, "key");
    const struct weir_yaml *values = weir_yaml_get(node, "values");
    if (key == NULL || values == NULL || values->kind != WEIR_YAML_LIST || values->count == 0)
        return no_equal(policy, node, "string_attribute: without key or values it matches nothing");
    bool regex = weir_import_flag(node, "enabled_regex_matching"), star = false;
    for (const struct weir_yaml *one = values->first; one != NULL; one = one->next) {
        if (one->kind != WEIR_YAML_TEXT) return no_equal(policy, one, "string_attribute: a value is no text");
        size_t size = strlen(one->text);
        star = star || size == 0 || one->text[size - 1] == '*'; /* `equals: "a*"` is every text that begins with a */
    }
    struct weir_buffer text = {0};
    bool service = strcmp(key, "service.name") == 0 && !regex && !star && values->count <= 64;
    if (service) {
        weir_buffer_text(&text, "service: ");
        weir_import_quote_list(&text, values);
    } else {
        weir_buffer_text(&text, "attribute: { key: ");
        weir_import_quote(&text, key);
        if (regex || star || values->count > 64) {
            weir_buffer_text(&text, ", matches: ");
            put_pattern(&text, values, !regex);
        } else {
            weir_buffer_text(&text, ", equals: ");
            weir_import_quote_list(&text, values);
        }
        weir_buffer_text(&text, " }");
    }
    say_not(policy, &text, weir_import_flag(node, "invert_match"));
    return true;
}

static bool status_code(struct policy *policy, const struct weir_yaml *node) {
    const struct weir_yaml *codes = weir_yaml_get(node, "status_codes");
    bool ok = false, unset = false, error = false;
    struct weir_buffer text = {0};
    for (const struct weir_yaml *one = codes == NULL ? NULL : codes->first; one != NULL; one = one->next) {
        if (one->kind != WEIR_YAML_TEXT) continue;
        ok = ok || strcmp(one->text, "OK") == 0;
        unset = unset || strcmp(one->text, "UNSET") == 0;
        error = error || strcmp(one->text, "ERROR") == 0;
    }
    if (ok && unset && error) return true;
    if (!error && !unset)
        return no_equal(policy, node,
                        ok ? "status_code OK: Weir knows errors and the rest; OK alone would keep the unset too"
                           : "status_code: no code, it matches nothing");
    if (error && (ok || unset)) {
        weir_import_note(policy->import, policy->rule, IMPORT_ROUGH, node->line,
                         "status_code ERROR and %s: Weir knows errors and the rest, so this is every trace",
                         ok ? "OK" : "UNSET");
        return true;
    }
    if (!error && !ok)
        weir_import_note(policy->import, policy->rule, IMPORT_ROUGH, node->line,
                         "status_code UNSET: spans that are OK count too, as Weir knows errors and the rest");
    weir_buffer_text(&text, error ? "error: true" : "span: { error: false }");
    say(policy, &text);
    return true;
}

static bool span_count(struct policy *policy, const struct weir_yaml *node) {
    double low = 0, high = 0;
    struct weir_buffer text = {0};
    weir_import_number(node, "min_spans", &low);
    weir_import_number(node, "max_spans", &high);
    if (low < 0 || high < 0 || low > 1e9 || high > 1e9) return no_equal(policy, node, "span_count: out of range");
    if (high == 0) {
        weir_buffer_printf(&text, "spans: \">=%.0f\"", low);
    } else {
        weir_buffer_printf(&text, "spans: \"%.0f..%.0f\"", low, high);
    }
    say(policy, &text);
    return true;
}

/* One of the conditions holds of one of the spans. */
static bool ottl_condition(struct policy *policy, const struct weir_yaml *node) {
    const struct weir_yaml *list = weir_yaml_get(node, "span"), *events = weir_yaml_get(node, "spanevent");
    struct weir_buffer all = {0};
    uint32_t count = 0;
    bool read = true;
    if (events != NULL && events->kind == WEIR_YAML_LIST && events->count > 0)
        return no_equal(policy, events, "ottl_condition: span events are not looked at here");
    if (list == NULL || list->kind != WEIR_YAML_LIST || list->count == 0)
        return no_equal(policy, node, "ottl_condition: no condition of spans");
    for (const struct weir_yaml *one = list->first; read && one != NULL; one = one->next) {
        struct weir_buffer text = {0};
        bool root = false;
        const char *why = one->kind == WEIR_YAML_TEXT ? weir_import_ottl(one->text, &text, &root) : "it is no text";
        weir_buffer_byte(&text, 0);
        if (why != NULL || text.failed) {
            read = no_equal(policy, one, "ottl_condition: %s", why != NULL ? why : "no memory");
        } else {
            weir_buffer_printf(&all, "%s%s: { %s }", count++ == 0 ? "" : " }, { ", root ? "root" : "span",
                               text.size > 1 ? (const char *)text.bytes : "duration: \">=0ns\"");
        }
        weir_buffer_free(&text);
    }
    if (read) {
        struct weir_buffer whole = {0};
        weir_buffer_byte(&all, 0);
        weir_buffer_printf(&whole, count > 1 ? "any: [{ %s }]" : "%s", all.failed ? "" : (const char *)all.bytes);
        whole.failed = whole.failed || all.failed;
        say(policy, &whole);
    }
    weir_buffer_free(&all);
    return read;
}

static bool probabilistic(struct policy *policy, const struct weir_yaml *node) {
    double percent = 0;
    weir_import_number(node, "sampling_percentage", &percent);
    if (percent < 0 || percent > 100) percent = percent < 0 ? 0 : 100;
    if (percent / 100 < policy->rate) policy->rate = percent / 100;
    policy->salted = policy->salted || weir_import_text(node, "hash_salt") != NULL;
    return true;
}

static void limit_to(struct policy *policy, double limit) {
    if (policy->limit == 0 || limit < policy->limit) policy->limit = limit;
}

static bool rate_limiting(struct policy *policy, const struct weir_yaml *node, bool bytes) {
    double number = 0, each = bytes ? policy->import->options->trace_bytes : policy->import->options->trace_spans;
    const char *key = bytes ? "bytes_per_second" : "spans_per_second";
    if (!weir_import_number(node, key, &number) || number <= 0)
        return no_equal(policy, node, "%s is not above 0: it keeps nothing", key);
    limit_to(policy, number / each);
    weir_import_note(policy->import, policy->rule, IMPORT_ROUGH, node->line,
                     "%s %.0f: Weir limits traces; taken as %.9g %s a trace (--trace-%s)", key, number, each,
                     bytes ? "bytes" : "spans", bytes ? "bytes" : "spans");
    return true;
}

static bool read_policy(struct policy *policy, const struct weir_yaml *node);

/* Sub-policies that all have to sample. */
// NOLINTNEXTLINE(misc-no-recursion): the file's depth is bounded
static bool all_of(struct policy *policy, const struct weir_yaml *subs) {
    if (subs == NULL || subs->kind != WEIR_YAML_LIST) return true;
    for (const struct weir_yaml *one = subs->first; one != NULL; one = one->next) {
        if (!read_policy(policy, one)) return false;
    }
    return true;
}

// NOLINTNEXTLINE(misc-no-recursion)
static bool not_policy(struct policy *policy, const struct weir_yaml *node) {
    const struct weir_yaml *sub = weir_yaml_get(node, "not_sub_policy");
    if (sub != NULL && sub->kind == WEIR_YAML_LIST) sub = sub->first;
    if (sub == NULL) return no_equal(policy, node, "not: no sub-policy");
    struct policy inner = {.import = policy->import, .rule = policy->rule, .rate = 1};
    struct weir_buffer text = {0};
    bool read = read_policy(&inner, sub);
    if (read && (inner.rate != 1 || inner.limit != 0))
        read = no_equal(policy, sub, "not: of a policy that keeps by a rate or a limit");
    if (read && inner.count == 0) read = no_equal(policy, sub, "not: of a policy that matches all, which is none");
    weir_buffer_byte(&inner.when, 0);
    if (read && !inner.when.failed) {
        weir_buffer_text(&text, "not: { ");
        weir_import_all(&text, (const char *)inner.when.bytes, inner.count);
        weir_buffer_text(&text, " }");
        say(policy, &text);
    }
    weir_buffer_free(&inner.when);
    return read;
}

/* Adds what `node` asks to the policy; false: it has no equal, which is noted. */
// NOLINTNEXTLINE(misc-no-recursion)
static bool read_policy(struct policy *policy, const struct weir_yaml *node) {
    static const struct {
        const char *type;
        bool (*read)(struct policy *policy, const struct weir_yaml *node);
    } types[] = {
        {"latency", latency},
        {"numeric_attribute", numeric},
        {"boolean_attribute", boolean},
        {"string_attribute", text_attribute},
        {"status_code", status_code},
        {"span_count", span_count},
        {"probabilistic", probabilistic},
        {"not", not_policy},
        {"ottl_condition", ottl_condition},
    };
    const char *type = weir_import_text(node, "type");
    const struct weir_yaml *own = type == NULL ? NULL : weir_yaml_get(node, type);
    if (node->kind != WEIR_YAML_MAP || type == NULL) return no_equal(policy, node, "a policy without type");
    if (strcmp(type, "always_sample") == 0) return true;
    if (strcmp(type, "trace_flags") == 0) {
        struct weir_buffer text = {0};
        weir_buffer_text(&text, "sampled: true");
        say(policy, &text);
        return true;
    }
    if (own == NULL || own->kind != WEIR_YAML_MAP) own = node;
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        if (strcmp(type, types[i].type) == 0) return types[i].read(policy, own);
    }
    if (strcmp(type, "rate_limiting") == 0) return rate_limiting(policy, own, false);
    if (strcmp(type, "bytes_limiting") == 0) return rate_limiting(policy, own, true);
    if (strcmp(type, "and") == 0) return all_of(policy, weir_yaml_get(own, "and_sub_policy"));
    if (strcmp(type, "trace_state") == 0)
        return no_equal(policy, node, "trace_state: Weir's rules do not look at the tracestate");
    return no_equal(policy, node, "a policy of type %s is not known", type);
}

/* ---- policies as rules ---- */

static void finish(struct policy *policy, struct import_rule *rule, bool read) {
    rule->rate = policy->rate;
    rule->limit = policy->limit;
    rule->when = policy->when;
    rule->conditions = policy->count;
    if (!read) return;
    if (rule->class == IMPORT_KEEP && rule->limit > 0) {
        rule->class = IMPORT_LIMITED;
    } else if (rule->class == IMPORT_KEEP && rule->rate < 1) {
        rule->class = IMPORT_THINNED;
    }
    if (policy->salted)
        weir_import_note(policy->import, rule, IMPORT_MIND, rule->line,
                         "hash_salt is not needed: Weir keeps by the trace's own randomness, everywhere the same");
}

static void drop_policy(struct import *import, const struct weir_yaml *node, const struct weir_yaml *own) {
    struct import_rule *rule = weir_import_rule(import, node, weir_import_text(node, "name"));
    if (rule == NULL) return;
    struct policy policy = {.import = import, .rule = rule, .rate = 1};
    bool read = all_of(&policy, weir_yaml_get(own, "drop_sub_policy"));
    if (read && (policy.rate != 1 || policy.limit != 0))
        read = no_equal(&policy, node, "drop by a rate or a limit: the rest would go on to the next rule");
    rule->class = IMPORT_DROP;
    finish(&policy, rule, read);
    rule->rate = 0;
}

/* Each sub-policy has its share of the spans a second; the first that samples decides. */
static void composite(struct import *import, const struct weir_yaml *node, const struct weir_yaml *own) {
    double total = 0;
    weir_import_number(own, "max_total_spans_per_second", &total);
    const struct weir_yaml *subs = weir_yaml_get(own, "composite_sub_policy");
    const struct weir_yaml *shares = weir_yaml_get(own, "rate_allocation");
    const struct weir_yaml *order = weir_yaml_get(own, "policy_order");
    const char *name = weir_import_text(node, "name");
    bool behind_all = false;
    for (const struct weir_yaml *sub = subs == NULL ? NULL : subs->first; sub != NULL; sub = sub->next) {
        const char *sub_name = weir_import_text(sub, "name");
        char full[160];
        snprintf(full, sizeof full, "%s/%s", name == NULL ? "composite" : name, sub_name == NULL ? "?" : sub_name);
        struct import_rule *rule = weir_import_rule(import, sub, full);
        if (rule == NULL) return;
        struct policy policy = {.import = import, .rule = rule, .rate = 1};
        bool read = read_policy(&policy, sub);
        double spans = 0, percent = 0;
        const struct weir_yaml *share = shares == NULL ? NULL : shares->first;
        for (; share != NULL; share = share->next) {
            const char *of = weir_import_text(share, "policy");
            if (of == NULL || sub_name == NULL || strcmp(of, sub_name) != 0) continue;
            if (!weir_import_number(share, "percent", &percent) || percent <= 0) percent = 100.0 / subs->count;
            spans = total * percent / 100;
        }
        rule->class = IMPORT_LIMITED;
        finish(&policy, rule, read);
        if (!read) continue;
        if (behind_all) {
            rule->left_out = true;
            weir_import_note(import, rule, IMPORT_MIND, sub->line, "never asked there, as one before it matches all");
            continue;
        }
        behind_all = policy.count == 0 && policy.rate == 1;
        if (spans <= 0) {
            rule->rate = 0;
            rule->limit = 0;
            weir_import_note(import, rule, IMPORT_MIND, sub->line,
                             "no rate_allocation names it, so the Collector gives it no spans: it keeps nothing");
            continue;
        }
        double traces = spans / import->options->trace_spans;
        if (rule->limit == 0 || traces < rule->limit) rule->limit = traces;
        weir_import_note(import, rule, IMPORT_ROUGH, sub->line,
                         "%.9g spans a second: Weir limits traces; taken as %.9g spans a trace (--trace-spans)", spans,
                         import->options->trace_spans);
        const struct weir_yaml *place = order == NULL ? NULL : order->first;
        if (sub == subs->first && place != NULL && place->kind == WEIR_YAML_TEXT && sub_name != NULL &&
            strcmp(place->text, sub_name) != 0)
            weir_import_note(import, rule, IMPORT_MIND, order->line,
                             "policy_order has another order; the Collector goes by that of composite_sub_policy");
    }
}

static void one_policy(struct import *import, const struct weir_yaml *node) {
    const char *type = weir_import_text(node, "type");
    const struct weir_yaml *own = type == NULL ? NULL : weir_yaml_get(node, type);
    if (type != NULL && own != NULL && strcmp(type, "drop") == 0) {
        drop_policy(import, node, own);
        return;
    }
    if (type != NULL && own != NULL && strcmp(type, "composite") == 0) {
        composite(import, node, own);
        return;
    }
    struct import_rule *rule = weir_import_rule(import, node, weir_import_text(node, "name"));
    if (rule == NULL) return;
    struct policy policy = {.import = import, .rule = rule, .rate = 1};
    bool read = read_policy(&policy, node);
    finish(&policy, rule, read);
    if (read && own != NULL && weir_import_flag(own, "invert_match"))
        weir_import_note(import, rule, IMPORT_MIND, node->line,
                         "invert_match, as from v0.144 on. Before, the Collector dropped what matches whatever the "
                         "other policies said: if you meant that, turn this into `rate: 0` without `not`, as the "
                         "first rule");
    if (read && rule->rate == 0) { /* as a rule it would take traces from those behind it */
        weir_import_note(import, rule, IMPORT_MIND, node->line, "keeps nothing there, so it is no rule here");
        rule->left_out = true;
    }
}

/* ---- the processor ---- */

/* A duration that `keep:` takes, or NULL; noted when it is said and none. */
static const char *duration(struct import *import, const struct weir_yaml *processor, const char *key,
                            uint64_t min_ns) {
    const struct weir_yaml *node = weir_yaml_get(processor, key);
    uint64_t ns = 0;
    if (node == NULL) return NULL;
    bool read = node->kind == WEIR_YAML_TEXT && weir_value_duration(node->text, &ns);
    if (read && ns >= min_ns && ns <= 3600 * WEIR_S) return node->text;
    if (!read || ns != 0) /* 0 is how it is switched off there */
        weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                         "%s: not a duration of 100ms to 1h; the default is taken", key);
    return NULL;
}

static void settings(struct import *import, const struct weir_yaml *processor) {
    static const char *const silent[] = {"policies",
                                         "decision_wait",
                                         "decision_wait_after_root_received",
                                         "expected_new_traces_per_sec",
                                         "decision_cache",
                                         "num_traces",
                                         "block_on_overflow",
                                         "num_shards",
                                         "sampling_strategy"};
    const char *wait = duration(import, processor, "decision_wait", 100 * WEIR_MS);
    const char *quiet = duration(import, processor, "decision_wait_after_root_received", 1);
    weir_buffer_text(&import->settings, "  wait: ");
    weir_import_quote(&import->settings, wait == NULL ? "30s" : wait);
    weir_buffer_text(&import->settings, wait == NULL ? " # the Collector's default\n" : "\n");
    weir_import_comment(&import->settings, 2,
                        quiet == NULL ? "A trace is decided earlier when its root has ended and nothing came for "
                                        "`quiet`. The Collector always waits; `quiet` as long as `wait` does too."
                                      : "The Collector counts from the root's arrival, Weir from the last span's.");
    weir_buffer_text(&import->settings, "  quiet: ");
    weir_import_quote(&import->settings, quiet == NULL ? "1s" : quiet);
    weir_buffer_byte(&import->settings, '\n');
    const struct weir_yaml *count = weir_yaml_get(processor, "num_traces");
    if (count != NULL && count->kind == WEIR_YAML_TEXT) {
        char text[200];
        snprintf(text, sizeof text,
                 "num_traces %.20s: Weir is bounded in bytes, and decides the oldest early, by "
                 "the rules, when they are used up.",
                 count->text);
        weir_import_comment(&import->settings, 2, text);
    }
    weir_buffer_text(&import->settings, "  memory: 256MiB\n");
    for (const struct weir_yaml *node = processor->first; node != NULL; node = node->next) {
        bool known = false;
        for (size_t i = 0; i < sizeof silent / sizeof *silent; i++)
            known = known || strcmp(node->key, silent[i]) == 0;
        if (known) continue;
        if (strcmp(node->key, "sample_on_first_match") == 0) {
            if (weir_import_flag(processor, node->key))
                weir_import_note(import, NULL, IMPORT_ROUGH, node->line,
                                 "sample_on_first_match: there a trace that a policy samples before a drop is asked "
                                 "stays; here drops come first");
        } else {
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "%s: nothing here is like it", node->key);
        }
    }
}

/* processors: { tail_sampling/x: {...} }, tail_sampling: {...}, or the processor's own keys. NULL: err says why. */
static const struct weir_yaml *find_processor(struct import *import, const struct weir_yaml *root,
                                              enum weir_status *status) {
    const struct weir_yaml *all = weir_yaml_get(root, "processors"), *found = NULL;
    const char *part = import->options->part;
    if (weir_yaml_get(root, "policies") != NULL) return root;
    if (all == NULL) all = root;
    for (const struct weir_yaml *node = all->kind == WEIR_YAML_MAP ? all->first : NULL; node != NULL;
         node = node->next) {
        if (strncmp(node->key, "tail_sampling", 13) != 0 || (node->key[13] != 0 && node->key[13] != '/')) continue;
        if (part != NULL && strcmp(part, node->key) != 0) continue;
        if (found != NULL) {
            *status = weir_yaml_fail(import->doc, node->line, import->err, "%s and %s; say which one with --part",
                                     found->key, node->key);
            return NULL;
        }
        found = node;
    }
    if (found == NULL || found->kind != WEIR_YAML_MAP || weir_yaml_get(found, "policies") == NULL) {
        *status = weir_yaml_fail(import->doc, found == NULL ? all->line : found->line, import->err,
                                 "no processor %s with policies in it", part == NULL ? "tail_sampling" : part);
        return NULL;
    }
    return found;
}

enum weir_status weir_import_otel(struct import *import, const struct weir_yaml *root) {
    enum weir_status status = WEIR_OK;
    const struct weir_yaml *processor = find_processor(import, root, &status);
    if (processor == NULL) return status;
    const struct weir_yaml *policies = weir_yaml_get(processor, "policies");
    if (policies->kind != WEIR_YAML_LIST)
        return weir_yaml_fail(import->doc, policies->line, import->err, "policies: is %s, a list is needed",
                              weir_yaml_kind_name(policies->kind));
    settings(import, processor);
    struct import_rule *rest = weir_import_rule(import, policies, "no-policy");
    if (rest == NULL) return WEIR_OK;
    rest->class = IMPORT_REST;
    rest->rate = 0;
    weir_import_note(import, rest, IMPORT_MIND, policies->line,
                     "What no policy samples is not kept there; here what no rule matches is kept, so this says it.");
    for (const struct weir_yaml *node = policies->first; node != NULL; node = node->next) {
        if (node->kind == WEIR_YAML_MAP) {
            one_policy(import, node);
        } else {
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line, "a policy that is no map");
        }
    }
    uint32_t thinned = 0, limited = 0;
    for (uint32_t i = 0; i < import->rule_count; i++) {
        thinned += import->rules[i].class == IMPORT_THINNED && !import->rules[i].left_out;
        limited += import->rules[i].class == IMPORT_LIMITED && !import->rules[i].left_out;
    }
    if (limited > 0 && thinned + limited > 1)
        weir_import_note(import, NULL, IMPORT_ROUGH, policies->line,
                         "the Collector asks all policies: what one lets go by its rate or limit, another may still "
                         "keep. Here the first rule that matches decides, so of rules with limits that match the same "
                         "traces only the first counts");
    return WEIR_OK;
}
