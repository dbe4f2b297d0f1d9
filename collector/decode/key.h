/* key.h - builds the canonical key of a series (core/point.h) out of whatever names and values a protocol carries.
 *
 * Metric names: each character outside [a-zA-Z0-9_:] becomes `_`, a leading digit gets `_` before it; label names the
 * same outside [a-zA-Z0-9_]. Label names that the exposition or Prometheus needs for itself (le, quantile, overflow,
 * __*) are prefixed by `exported_`, as Prometheus does with labels that conflict. A label given twice has its last
 * value, one with an empty value is none. Values that are not UTF-8 are repaired. */
#ifndef WEIR_DECODE_KEY_H
#define WEIR_DECODE_KEY_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_METRIC_NAME_BYTES_MAX = 512, WEIR_LABEL_NAME_BYTES_MAX = 128, WEIR_LABELS_MAX = 64 };

struct weir_key; /* one under construction; one thread */

struct weir_key *weir_key_new(uint32_t label_value_bytes_max);
void weir_key_free(struct weir_key *key); /* accepts NULL */
/* Starts the next key. False: the name is empty or longer than WEIR_METRIC_NAME_BYTES_MAX. */
bool weir_key_name(struct weir_key *key, const void *name, size_t size);
/* False, and the key is as before: no name, a name longer than WEIR_LABEL_NAME_BYTES_MAX, or WEIR_LABELS_MAX labels
 * already. */
bool weir_key_label(struct weir_key *key, const void *name, size_t name_size, const void *value, size_t value_size);
/* The value that a label has so far, NULL when it has none. */
const uint8_t *weir_key_value(const struct weir_key *key, const char *name, uint32_t *size);
/* The key; valid until the next weir_key_name(). */
const uint8_t *weir_key_done(struct weir_key *key, uint32_t *size);
#endif
