/* rules.h - what may be kept of spans, and how they are judged: attributes:, operations:, success: and exclude: of the
 * configuration, compiled. Immutable but for its counters; shared by the lanes. */
#ifndef WEIR_ATTRIBUTES_RULES_H
#define WEIR_ATTRIBUTES_RULES_H
#include "collector/attributes/cards.h"
#include "collector/config/config.h"
#include "collector/core/metrics.h"
#include "collector/core/names.h"
#include "collector/core/span.h"

#include <string.h>

struct weir_rules;

/* Counters by rule, which outlive a reload. */
struct weir_rules_counts;
struct weir_rules_counts *weir_rules_counts_new(struct weir_metrics *metrics);
void weir_rules_counts_free(struct weir_rules_counts *counts); /* after the rules; accepts NULL */

/* WEIR_INVALID: err->text is "file:line: reason" (a pattern, a key file). `counts` may be NULL (weir check). */
enum weir_status weir_rules_new(const struct weir_config *config, struct weir_rules_counts *counts,
                                struct weir_rules **rules, struct weir_error *err);
void weir_rules_free(struct weir_rules *rules); /* accepts NULL */

/* What the walk asks for each attribute, kept small: it looks further only where this says so. */
struct weir_rules_look {
    uint64_t ends[256]; /* by a key's last character: a bit for each size (mod 64) of the keys that rules name */
    bool every_key;     /* a rule names all keys or a beginning of them, and is not mask_card_numbers */
    bool cards;         /* mask_card_numbers of all keys */
    bool strips;        /* strip_query: also of span names */
    bool queries;       /* `ends` are keys of strip_query, and of no other rule */
};
enum { WEIR_URL_QUERY_BYTES = 9 }; /* of url.query, all of which is query */
const struct weir_rules_look *weir_rules_look(const struct weir_rules *rules);

/* Would a rule change this text value, beside mask_card_numbers of all keys? For keys that the look does not pass over.
 */
bool weir_rules_changes(const struct weir_rules *rules, const uint8_t *key, size_t key_size, const uint8_t *text,
                        size_t size);
/* Asked of each attribute of each span, and nearly always in vain: a call would cost as much again. */
static inline __attribute__((always_inline)) bool weir_rules_touch(const struct weir_rules *rules,
                                                                   const struct weir_rules_look *look,
                                                                   const uint8_t *key, size_t key_size,
                                                                   const uint8_t *text, size_t size) {
    if (size >= WEIR_CARD_DIGITS_MIN && look->cards && weir_cards_find(text, size)) return true;
    if (key_size >= WEIR_CARD_DIGITS_MIN && look->cards && weir_cards_find_key(key, key_size)) return true;
    bool named = key_size > 0 ? (look->ends[key[key_size - 1]] >> (key_size & 63) & 1) != 0 : look->every_key;
    if (!named || (look->queries && key_size != WEIR_URL_QUERY_BYTES && memchr(text, '?', size) == NULL)) return false;
    return weir_rules_changes(rules, key, key_size, text, size);
}
/* Where a name has a query string behind a path: its size without, else `size`. */
size_t weir_query_cut(const uint8_t *text, size_t size);

/* What becomes of an attribute's value. */
enum weir_rules_verdict {
    WEIR_RULES_SAME,
    WEIR_RULES_TEXT, /* *out is its text now */
    WEIR_RULES_DROP
};
enum { WEIR_RULES_TEXT_MAX = 64 * 1024 /* what a replacement may make of a value; beyond, "[redacted]" */ };
/* Applies the rules to one attribute and counts. is_text: the value is a string, else `text` is its wire form (only
 * drop, keep and hash see it). `out` is emptied first; on TEXT it holds the new text. */
enum weir_rules_verdict weir_rules_apply(const struct weir_rules *rules, const uint8_t *key, size_t key_size,
                                         const uint8_t *text, size_t size, bool is_text, struct weir_buffer *out);
/* Text that is no attribute's: card numbers only, in place; counts. */
bool weir_rules_mask(const struct weir_rules *rules, uint8_t *text, size_t size);
/* So many query strings were cut off names. */
void weir_rules_count_strip(const struct weir_rules *rules);
void weir_rules_count_card(const struct weir_rules *rules);

/* operations: what a new span name becomes; 0: no rule fits. At most out_size bytes. */
size_t weir_rules_operation(const struct weir_rules *rules, const uint8_t *name, size_t size, char *out,
                            size_t out_size);
bool weir_rules_has_operations(const struct weir_rules *rules);

/* success: and exclude: on a view whose service and operation are known; body: its Span message. Sets status and
 * WEIR_SPAN_UNCOUNTED. Nothing to do when weir_rules_judges() is false. */
bool weir_rules_judges(const struct weir_rules *rules); /* NULL: false */
void weir_rules_judge(const struct weir_rules *rules, const struct weir_names *names, const uint8_t *body,
                      struct weir_span *span);
#endif
