/* columns.h - names and numbers of a table, each right or left in its columns; for people. */
#ifndef WEIR_CLI_COLUMNS_H
#define WEIR_CLI_COLUMNS_H
#include "collector/core/buffer.h"

/* Left; what is too long ends with an ellipsis. `indent` spaces of the columns come first. */
void weir_column_name(struct weir_buffer *out, const char *name, uint32_t indent, uint32_t columns, bool unicode);
/* Right, all of these. 0, 0.0012, 1.25, 12.5, 1,234, 12.3M */
void weir_column_number(struct weir_buffer *out, int columns, double value);
void weir_column_short(struct weir_buffer *out, int columns, double value); /* 0.32, 2, 41.2, 496, 3,964, 255K, 1.2M */
void weir_column_bytes(struct weir_buffer *out, int columns, double bytes); /* 512 B, 1.5 MiB */
void weir_column_share(struct weir_buffer *out, int columns, double share); /* 100 %, 12.5 %, 0.0001 % */
void weir_column_text(struct weir_buffer *out, int columns, const char *text);
#endif
