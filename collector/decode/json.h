/* json.h - JSON (RFC 8259) read in place, a value at a time, without a tree. Every call goes on from where the one
 * before it stopped; a false answer at the end of an object or array leaves `why` NULL, on broken text `why` says what
 * is wrong and `at` where.
 *
 *   weir_json_array(&json);
 *   while (weir_json_element(&json)) {
 *       weir_json_object(&json);
 *       while (weir_json_key(&json, &key)) ... one value: weir_json_string(), _number(), _skip(), ...
 *   }
 *   if (json.why != NULL) ...
 *
 * Depth is bounded by WEIR_JSON_DEPTH_MAX; strings must be UTF-8 only where their reader cares (the span walk repairs).
 */
#ifndef WEIR_DECODE_JSON_H
#define WEIR_DECODE_JSON_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { WEIR_JSON_DEPTH_MAX = 64 };
enum weir_json_type {
    WEIR_JSON_NONE, /* the end of the text, or no value begins here */
    WEIR_JSON_OBJECT,
    WEIR_JSON_ARRAY,
    WEIR_JSON_STRING,
    WEIR_JSON_NUMBER,
    WEIR_JSON_TRUE,
    WEIR_JSON_FALSE,
    WEIR_JSON_NULL,
};

struct weir_json {
    const uint8_t *start, *at, *end;
    const char *why; /* NULL: nothing is wrong */
    unsigned depth;
    bool first; /* the object or array was just entered: no comma stands before what comes */
};

/* A string's bytes between its quotes, or a number's as it stands. */
struct weir_json_text {
    const uint8_t *bytes;
    size_t size;
    bool escaped; /* a backslash is in it: weir_json_unescape() */
};

struct weir_json weir_json_of(const uint8_t *bytes, size_t size);
enum weir_json_type weir_json_peek(struct weir_json *json); /* of the value that comes; passes over white space */
bool weir_json_object(struct weir_json *json);              /* enters; false: no object stands here (broken) */
bool weir_json_key(struct weir_json *json, struct weir_json_text *key); /* the next member; false: left the object */
bool weir_json_array(struct weir_json *json);
bool weir_json_element(struct weir_json *json); /* there is a next element; false: left the array */
bool weir_json_string(struct weir_json *json, struct weir_json_text *text);
bool weir_json_number(struct weir_json *json, struct weir_json_text *text); /* checked to be a JSON number */
bool weir_json_bool(struct weir_json *json, bool *value);
bool weir_json_null(struct weir_json *json);
bool weir_json_skip(struct weir_json *json); /* any value, whole */
bool weir_json_end(struct weir_json *json);  /* nothing but white space is left; else broken */

/* A whole number, or a string of one ("123": protobuf's JSON writes 64-bit integers so). False and broken: no such
 * number, or out of range. */
bool weir_json_u64(struct weir_json *json, uint64_t *value);
bool weir_json_i64(struct weir_json *json, int64_t *value);
bool weir_json_double(struct weir_json *json, double *value); /* also of a string, "NaN", "Infinity", "-Infinity" */

/* Writes the text's meaning to out, which has room for text->size bytes, and returns how many; a lone surrogate becomes
 * U+FFFD. Escapes were checked when it was read. */
size_t weir_json_unescape(const struct weir_json_text *text, uint8_t *out);
bool weir_json_is(const struct weir_json_text *text, const char *literal); /* escapes taken into account */
/* Marks the text as broken here, for a reader that expects something else. Returns false. */
bool weir_json_fail(struct weir_json *json, const char *why);
#endif
