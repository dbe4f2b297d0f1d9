/* operation.h - an unbounded name made bounded: path segments that look like numbers or ids are replaced.
 *   "GET /users/42/cards/9f1c2d3e-0000-4000-8000-00000000beef?x=1"  ->  "GET /users/{id}/cards/{id}"
 * A segment is replaced when it is all digits, a UUID, 16 or more hex digits with at least one digit among them, or
 * digits mixed with - _ . only. A query string or fragment behind a path is cut. Names without a slash stay as they
 * are. */
#ifndef WEIR_CORE_OPERATION_H
#define WEIR_CORE_OPERATION_H
#include <stddef.h>
#include <stdint.h>

/* Writes at most out_size bytes (never more than `size` when nothing is replaced) and returns how many. "/1/2" grows: 5
 * / 2 of `size` and 4 is room for any. */
size_t weir_operation_template(const uint8_t *name, size_t size, char *out, size_t out_size);
#endif
