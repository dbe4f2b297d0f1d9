/* ottl.h - conditions of the OpenTelemetry Transformation Language on spans, as conditions of Weir.
 * Source: opentelemetry-collector-contrib, pkg/ottl (LANGUAGE.md, grammar) and pkg/ottl/contexts/ottlspan.
 *
 *   attributes["k"], resource.attributes["k"], name, kind, status.code    compared by == != < <= > >= with a literal
 *   IsMatch(attributes["k"], "pattern")    IsRootSpan()    and, or, not, ( )    each with or without `span.` before */
#ifndef WEIR_CLI_IMPORT_OTTL_H
#define WEIR_CLI_IMPORT_OTTL_H
#include "collector/cli/import/write.h"

/* Appends what one span is asked (nothing, when it is only to be the root). *root: of the root, not of any span.
 * Returns NULL, or why it has no equal; `out` is to be thrown away then. */
const char *weir_import_ottl(const char *text, struct weir_buffer *out, bool *root);
#endif
