/* text.h - text from the wire, harmless and measured in a terminal's columns. Pure; asks no locale.
 *
 * Names come from whoever sends spans, and a terminal obeys what it is sent: escapes move the cursor, set titles, and
 * bidirectional controls show text in another order than it has. None of them passes. Width: Unicode Standard Annex 11,
 * East Asian Width W and F are two columns, combining marks none. */
#ifndef WEIR_CLI_TEXT_H
#define WEIR_CLI_TEXT_H
#include "collector/core/buffer.h"

/* Columns that the text takes when it is put; what is not UTF-8 and each control counts as the one column of its
 * replacement. */
uint32_t weir_text_columns(const char *text, bool unicode);
/* Writes at most `columns` columns of it; what is too long ends with an ellipsis ("…", ".." without Unicode). Controls
 * and what is not UTF-8 become U+FFFD or "?"; without Unicode all that is not ASCII becomes "?". Returns the columns
 * written. */
uint32_t weir_text_put(struct weir_buffer *out, const char *text, uint32_t columns, bool unicode);
void weir_text_spaces(struct weir_buffer *out, uint32_t count);

/* "0", "85ns", "12.3us" (µ with Unicode), "312ms", "1.24s", "3m05s", "2h10m", "12d": at most WEIR_TEXT_DURATION_COLUMNS
 * columns. */
enum { WEIR_TEXT_DURATION_COLUMNS = 6, WEIR_TEXT_BYTES = 32 };
void weir_text_duration(uint64_t ns, bool unicode, char out[WEIR_TEXT_BYTES]);
/* Of what somebody waits for, in whole seconds: "0s", "31s", "3m05s", "2h10m". */
void weir_text_age(double seconds, char out[WEIR_TEXT_BYTES]);
/* 1, 2.5, 12.5, 1,234: a weight. */
void weir_text_weight(double weight, char out[WEIR_TEXT_BYTES]);
/* 1,234,567 */
void weir_text_count(uint64_t count, char out[WEIR_TEXT_BYTES]);
/* A trace's id as people copy it: 32 digits of hex, or 16 where it has no high half. */
enum { WEIR_TEXT_ID_BYTES = 33 };
void weir_text_trace_id(uint64_t trace_hi, uint64_t trace_lo, char out[WEIR_TEXT_ID_BYTES]);
/* 2024-05-01T14:02:11Z; nothing where it is beyond all calendars. */
void weir_text_time(struct weir_buffer *out, uint64_t unix_ns);
/* A code of SGR ("1", "31", "0"), or nothing without colour. */
void weir_text_colour(struct weir_buffer *out, bool colour, const char *code);
#endif
