/* refinery.c - Refinery's rules (RulesVersion 2), which are like Weir's: the first that matches decides, and
 * what none matches is kept. Source: honeycombio/refinery, config/sampler_config.go and sample/rules.go.
 *
 *   Scope trace: each condition holds of some span ─> span: { ... } each    Scope span: all of one ─> span: { all:
 * [...] } root.FIELD  ─> root: { ... }                                           SampleRate N: one of N  ─> rate: 1/N
 */
#include "collector/cli/import/fields.h"
#include "collector/cli/import/write.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ATTRIBUTES_MAX = 2, KEYS_MAX = 4 }; /* of dynamic rates: keep.h */

struct rules {
    struct import *import;
    char attributes[ATTRIBUTES_MAX][160]; /* that keys are made of so far */
    uint32_t attribute_count;
};

static struct import_rule *new_rule(struct rules *rules, const struct weir_yaml *node, const char *name) {
    struct import_rule *rule = weir_import_rule(rules->import, node, name);
    if (rule != NULL) rule->class = IMPORT_IN_ORDER;
    return rule;
}

/* ---- samplers ---- */

static bool put_key(struct rules *rules, struct import_rule *rule, struct weir_buffer *keys, uint32_t *count,
                    const struct weir_yaml *field) {
    const char *name = field->kind == WEIR_YAML_TEXT ? field->text : "";
    if (strncmp(name, "root.", 5) == 0) name += 5;
    const char *own = weir_import_key_of(name);
    if (*count == KEYS_MAX || *name == 0 || strncmp(name, "?.", 2) == 0) return false;
    if (own != NULL) {
        char quoted[32]; /* two fields may be one of Weir's */
        snprintf(quoted, sizeof quoted, "\"%s\"", own);
        weir_buffer_byte(keys, 0);
        bool twice = !keys->failed && strstr((const char *)keys->bytes, quoted) != NULL;
        keys->size--;
        if (twice) return true;
        weir_buffer_printf(keys, "%s%s", (*count)++ == 0 ? "" : ", ", quoted);
        return true;
    }
    uint32_t i = 0;
    while (i < rules->attribute_count && strcmp(rules->attributes[i], name) != 0)
        i++;
    if (i == ATTRIBUTES_MAX || strlen(name) >= sizeof rules->attributes[0]) return false;
    if (i == rules->attribute_count) snprintf(rules->attributes[rules->attribute_count++], 160, "%s", name);
    weir_buffer_printf(keys, "%s{ attribute: ", (*count)++ == 0 ? "" : ", ");
    weir_import_quote(keys, name);
    weir_buffer_text(keys, " }");
    (void)rule;
    return true;
}

static void put_window(struct rules *rules, struct import_rule *rule, const struct weir_yaml *node) {
    const char *window = weir_import_text(node, "ClearFrequency");
    if (window == NULL) window = weir_import_text(node, "LookbackFrequency");
    if (window == NULL) return;
    weir_buffer_text(&rule->dynamic, ", window: ");
    weir_import_quote(&rule->dynamic, window);
    (void)rules;
}

/* share: one of `goal`; throughput: `goal` spans a second. */
static void dynamic(struct rules *rules, struct import_rule *rule, const struct weir_yaml *node, double goal,
                    bool throughput) {
    struct import *import = rules->import;
    const struct weir_yaml *fields = weir_yaml_get(node, "FieldList");
    struct weir_buffer keys = {0}, lost = {0};
    uint32_t count = 0;
    for (const struct weir_yaml *one = fields == NULL ? NULL : fields->first; one != NULL; one = one->next) {
        if (put_key(rules, rule, &keys, &count, one)) continue;
        weir_buffer_printf(&lost, "%s%s", lost.size == 0 ? "" : ", ", one->kind == WEIR_YAML_TEXT ? one->text : "?");
    }
    double traces = goal / import->options->trace_spans;
    if (throughput)
        weir_import_note(import, rule, IMPORT_ROUGH, node->line,
                         "GoalThroughputPerSec %.9g counts spans; taken as %.9g spans a trace (--trace-spans)%s", goal,
                         import->options->trace_spans,
                         weir_import_flag(node, "UseClusterSize") ? "" : ", and of this Weir as of one node");
    if (lost.size > 0) {
        weir_buffer_byte(&lost, 0);
        weir_import_note(import, rule, IMPORT_ROUGH, node->line,
                         "keys have at most 4 fields, and a policy 2 attributes in them: without %s",
                         lost.failed ? "some" : (const char *)lost.bytes);
    }
    if (weir_import_flag(node, "UseTraceLength"))
        weir_import_note(import, rule, IMPORT_ROUGH, node->line, "UseTraceLength: the span count is in no key here");
    if (count == 0) {
        weir_import_note(import, rule, IMPORT_ROUGH, node->line, "no field is left for a key: the same rate for all");
        if (throughput) rule->limit = traces;
        if (!throughput) rule->rate = 1 / goal;
    } else {
        weir_buffer_text(&rule->dynamic, "keys: [");
        weir_buffer_put(&rule->dynamic, keys.bytes, keys.size);
        weir_buffer_text(&rule->dynamic, throughput ? "], traces_per_second: " : "], share: ");
        weir_import_print(&rule->dynamic, throughput ? traces : 1 / goal);
        put_window(rules, rule, node);
        double keys_max;
        if (weir_import_number(node, "MaxKeys", &keys_max) && keys_max >= 1 && keys_max <= 100000)
            weir_buffer_printf(&rule->dynamic, ", max_keys: %.0f", keys_max);
    }
    weir_buffer_free(&keys);
    weir_buffer_free(&lost);
}

/* One of the samplers that is no RulesBasedSampler. */
static void sampler(struct rules *rules, struct import_rule *rule, const struct weir_yaml *choice) {
    static const struct {
        const char *name, *goal;
        bool throughput;
    } samplers[] = {
        {"DynamicSampler", "SampleRate", false},
        {"EMADynamicSampler", "GoalSampleRate", false},
        {"EMAThroughputSampler", "GoalThroughputPerSec", true},
        {"WindowedThroughputSampler", "GoalThroughputPerSec", true},
        {"TotalThroughputSampler", "GoalThroughputPerSec", true},
    };
    const struct weir_yaml *own = choice->first;
    double goal = 1;
    if (choice->kind != WEIR_YAML_MAP || own == NULL) {
        weir_import_note(rules->import, rule, IMPORT_LEFT_OUT, choice->line, "no sampler in it");
        return;
    }
    if (strcmp(own->key, "DeterministicSampler") == 0) {
        weir_import_number(own, "SampleRate", &goal);
        rule->rate = goal > 1 ? 1 / goal : 1;
        return;
    }
    for (size_t i = 0; i < sizeof samplers / sizeof *samplers; i++) {
        if (strcmp(own->key, samplers[i].name) != 0) continue;
        bool has = weir_import_number(own, samplers[i].goal, &goal);
        if (!has && strcmp(samplers[i].name, "EMADynamicSampler") == 0) {
            goal = 10; /* its default */
            has = true;
        }
        if (!has || goal < 1 || goal > 1e9) {
            weir_import_note(rules->import, rule, IMPORT_LEFT_OUT, own->line, "%s: %s has to be 1 or more", own->key,
                             samplers[i].goal);
            return;
        }
        dynamic(rules, rule, own, goal, samplers[i].throughput);
        return;
    }
    weir_import_note(rules->import, rule, IMPORT_LEFT_OUT, own->line, "%s is not known", own->key);
}

/* ---- rules ---- */

/* Said of a trace these too mean: of one of its spans. */
static bool is_any_span(const char *condition) {
    static const char *const keys[] = {
        "attribute: ", "service: ", "operation: ", "kind: ", "http_status: ", "error: true"};
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (strncmp(condition, keys[i], strlen(keys[i])) == 0) return true;
    }
    return false;
}

/* What a rule's conditions are: those of any span or the root, and, for Scope span, those of one span. */
static void conditions(struct rules *rules, struct import_rule *rule, const struct weir_yaml *list, bool one_span) {
    struct weir_buffer same = {0};
    uint32_t count = 0;
    for (const struct weir_yaml *node = list == NULL ? NULL : list->first; node != NULL; node = node->next) {
        struct weir_buffer text = {0};
        enum weir_import_of of;
        const char *why = weir_import_condition(node, one_span, &text, &of);
        weir_buffer_byte(&text, 0);
        if (why != NULL || text.failed) {
            const char *field = weir_import_text(node, "Field"), *op = weir_import_text(node, "Operator");
            weir_import_note(rules->import, rule, IMPORT_LEFT_OUT, node->line, "%s %s: %s", field == NULL ? "?" : field,
                             op == NULL ? "?" : op, why == NULL ? "no memory" : why);
        } else if (of == WEIR_IMPORT_OF_ROOT) {
            weir_import_when(rule, "root: { %s }", (const char *)text.bytes);
        } else if (of == WEIR_IMPORT_OF_TRACE) {
            weir_import_when(rule, "%s", (const char *)text.bytes);
        } else if (one_span) {
            weir_buffer_printf(&same, "%s\n", (const char *)text.bytes);
            count++;
        } else {
            weir_import_when(rule, is_any_span((const char *)text.bytes) ? "%s" : "span: { %s }",
                             (const char *)text.bytes);
        }
        weir_buffer_free(&text);
    }
    if (count > 0) {
        struct weir_buffer all = {0};
        weir_buffer_byte(&same, 0);
        if (!same.failed) weir_import_all(&all, (const char *)same.bytes, count);
        weir_buffer_byte(&all, 0);
        if (!all.failed) weir_import_when(rule, "span: { %s }", (const char *)all.bytes);
        rules->import->no_memory = rules->import->no_memory || same.failed || all.failed;
        weir_buffer_free(&all);
    }
    weir_buffer_free(&same);
}

static void one_rule(struct rules *rules, const struct weir_yaml *node) {
    struct import *import = rules->import;
    struct import_rule *rule = new_rule(rules, node, weir_import_text(node, "Name"));
    if (rule == NULL) return;
    const char *scope = weir_import_text(node, "Scope");
    const struct weir_yaml *down = weir_yaml_get(node, "Sampler");
    double rate = 0;
    if (scope != NULL && *scope != 0 && strcmp(scope, "trace") != 0 && strcmp(scope, "span") != 0)
        weir_import_note(import, rule, IMPORT_LEFT_OUT, node->line, "Scope %s is not known", scope);
    conditions(rules, rule, weir_yaml_get(node, "Conditions"), scope != NULL && strcmp(scope, "span") == 0);
    if (down != NULL && down->kind == WEIR_YAML_MAP) {
        sampler(rules, rule, down);
    } else if (weir_import_flag(node, "Drop")) {
        rule->rate = 0;
    } else if (weir_import_number(node, "SampleRate", &rate) && rate >= 1) {
        rule->rate = 1 / rate;
    } else {
        rule->rate = 0;
        weir_import_note(import, rule, IMPORT_MIND, node->line,
                         "neither SampleRate nor Drop nor Sampler: Refinery keeps nothing of it");
    }
}

static void environment(struct rules *rules, const struct weir_yaml *choice) {
    const struct weir_yaml *based = choice->kind == WEIR_YAML_MAP ? weir_yaml_get(choice, "RulesBasedSampler") : NULL;
    if (based == NULL) {
        struct import_rule *rule = new_rule(rules, choice, "all");
        if (rule != NULL) sampler(rules, rule, choice);
        return;
    }
    const struct weir_yaml *list = weir_yaml_get(based, "Rules");
    if (weir_import_flag(based, "CheckNestedFields"))
        weir_import_note(rules->import, NULL, IMPORT_ROUGH, based->line,
                         "CheckNestedFields: Weir does not look into JSON within a value");
    if (list == NULL || list->kind != WEIR_YAML_LIST) return;
    for (const struct weir_yaml *node = list->first; node != NULL; node = node->next) {
        if (node->kind == WEIR_YAML_MAP) one_rule(rules, node);
    }
}

enum weir_status weir_import_refinery(struct import *import, const struct weir_yaml *root) {
    const char *part = import->options->part == NULL ? "__default__" : import->options->part;
    const struct weir_yaml *samplers = weir_yaml_get(root, "Samplers");
    if (samplers == NULL || samplers->kind != WEIR_YAML_MAP)
        return weir_yaml_fail(import->doc, root->line, import->err,
                              "no Samplers in it: no rules of Refinery (RulesVersion: 2)");
    const struct weir_yaml *chosen = weir_yaml_get(samplers, part);
    if (chosen == NULL)
        return weir_yaml_fail(import->doc, samplers->line, import->err, "Samplers: no environment %s (--part)", part);
    struct rules rules = {.import = import};
    for (const struct weir_yaml *node = samplers->first; node != NULL; node = node->next) {
        if (node != chosen)
            weir_import_note(import, NULL, IMPORT_LEFT_OUT, node->line,
                             "environment %s: Weir has one policy for all; --part %s imports it instead", node->key,
                             node->key);
    }
    environment(&rules, chosen);
    return WEIR_OK;
}
