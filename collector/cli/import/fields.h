/* fields.h - fields and operators of Refinery's conditions as conditions of Weir. */
#ifndef WEIR_CLI_IMPORT_FIELDS_H
#define WEIR_CLI_IMPORT_FIELDS_H
#include "collector/cli/import/write.h"

enum weir_import_of { WEIR_IMPORT_OF_SPAN, WEIR_IMPORT_OF_ROOT, WEIR_IMPORT_OF_TRACE };

/* Appends one condition: of a span, of the root or of the trace, as *of says. `one_span`: Scope is span.
 * Returns NULL, or why it has no equal. */
const char *weir_import_condition(const struct weir_yaml *node, bool one_span, struct weir_buffer *out,
                                  enum weir_import_of *of);
/* The field of dynamic rates that `field` is ("service"), or NULL: an attribute. */
const char *weir_import_key_of(const char *field);
#endif
