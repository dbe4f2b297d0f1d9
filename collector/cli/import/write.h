/* write.h - what the importers (otel.c, jaeger.c, refinery.c) write with: conditions as
 * text in YAML's flow style, rules that are put in order at the end, notes on what is not the same. */
#ifndef WEIR_CLI_IMPORT_WRITE_H
#define WEIR_CLI_IMPORT_WRITE_H
#include "collector/cli/import/import.h"
#include "collector/config/yaml.h"

/* Rules are written by class; within THINNED by rate, highest first; else in the order of the file. Of two rules that
 * keep by the same R the one with the higher rate, asked first, gives what "any of them keeps" gives. */
enum import_class { IMPORT_DROP, IMPORT_KEEP, IMPORT_THINNED, IMPORT_LIMITED, IMPORT_REST, IMPORT_IN_ORDER };

enum import_note {
    IMPORT_LEFT_OUT, /* no equal */
    IMPORT_ROUGH,    /* nearly the same */
    IMPORT_MIND      /* the same, but worth a word: a comment, not in the counts and not in the notes */
};

struct import_rule {
    struct weir_buffer name, comment, dynamic;
    struct weir_buffer when; /* conditions that all have to hold, each ending in "\n" */
    uint32_t conditions;
    double rate, limit; /* 1, 0 = no limit */
    enum import_class class;
    uint32_t place; /* in the file */
    int line;
    bool left_out;
};

enum { IMPORT_RULES_MAX = 256 };

struct import {
    const struct weir_yaml_doc *doc;
    const struct weir_import_options *options;
    struct weir_import_result *result;
    struct weir_error *err;
    struct weir_buffer head;     /* comments above `keep:` */
    struct weir_buffer settings; /* lines of `keep:` before `rules:` */
    struct import_rule rules[IMPORT_RULES_MAX];
    uint32_t rule_count;
    bool no_memory;
};

/* A new rule; NULL when there are too many, which is noted. `name` may be NULL. */
struct import_rule *weir_import_rule(struct import *import, const struct weir_yaml *from, const char *name);
/* Says it: above the rule (NULL: above all) and, unless MIND, in the notes. LEFT_OUT marks the rule. */
void weir_import_note(struct import *import, struct import_rule *rule, enum import_note note, int line,
                      const char *format, ...) __attribute__((format(printf, 5, 6)));
/* One condition more: "error: true". */
void weir_import_when(struct import_rule *rule, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* Writes head, settings and the rules in their order; a rule that Weir refuses becomes a comment. */
void weir_import_write(struct import *import);

/* "text", harmless to a YAML reader; variables of the environment stay variables. */
void weir_import_quote(struct weir_buffer *out, const char *text);
void weir_import_quote_key(struct weir_buffer *out, const char *text); /* keys know no variables */
/* `text` as a pattern that matches just it, without quotes. */
void weir_import_escape(struct weir_buffer *out, const char *text);
/* ["a", "b"] of a list or of one scalar. */
void weir_import_quote_list(struct weir_buffer *out, const struct weir_yaml *values);
/* Conditions, each ending in "\n", as one: all of them. */
void weir_import_all(struct weir_buffer *out, const char *conditions, uint32_t count);
/* "# ..." lines of at most 100 columns, each `indent` in. */
void weir_import_comment(struct weir_buffer *out, uint32_t indent, const char *text);

/* What a member says; false when it is not there or no such thing. */
bool weir_import_number(const struct weir_yaml *map, const char *key, double *out);
bool weir_import_flag(const struct weir_yaml *map, const char *key); /* false when not said */
const char *weir_import_text(const struct weir_yaml *map, const char *key);
/* 0.1, 2.5, 100: as short as reads back */
void weir_import_print(struct weir_buffer *out, double number);

enum weir_status weir_import_otel(struct import *import, const struct weir_yaml *root);
enum weir_status weir_import_jaeger(struct import *import, const struct weir_yaml *root);
enum weir_status weir_import_refinery(struct import *import, const struct weir_yaml *root);
#endif
