/* import.h - rules of other tail samplers as a sampling.yaml: policies of the OpenTelemetry Collector's tail_sampling
 * processor, strategies of Jaeger, rules of Refinery (docs/import.md says what becomes of what).
 *
 *   foreign file ─> weir_yaml ─> rules ─> in an order that keeps the same traces ─> each tried by weir_policy_parse()
 *
 * Whatever has no equal stands as a comment at its place, and as a line of `notes`. Pure: no I/O, no clock. */
#ifndef WEIR_CLI_IMPORT_H
#define WEIR_CLI_IMPORT_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

enum weir_import_from { WEIR_IMPORT_GUESS, WEIR_IMPORT_OTEL, WEIR_IMPORT_JAEGER, WEIR_IMPORT_REFINERY };
extern const char *const weir_import_names[4]; /* "", "otel", "jaeger", "refinery" */

struct weir_import_options {
    enum weir_import_from from;
    const char *part;   /* which processor or environment of several; NULL = the only one, or Refinery's __default__ */
    double trace_spans; /* spans of a usual trace: turns limits of spans into limits of traces; above 0 */
    double trace_bytes; /* the same for bytes */
};

struct weir_import_result {
    enum weir_import_from from;
    struct weir_buffer out;   /* the file */
    struct weir_buffer notes; /* a line each: "file:line: left out: ..." */
    uint32_t rules;           /* written */
    uint32_t left_out;        /* things without an equal */
    uint32_t rough;           /* things that are not quite the same */
};

/* `name` is for errors and notes. WEIR_INVALID: "file:line: reason", when it cannot be read as what it is said to be.
 * What was written passes weir_policy_parse(). The caller frees with weir_import_free() in any case. */
enum weir_status weir_import(const char *name, const uint8_t *bytes, size_t size,
                             const struct weir_import_options *options, struct weir_import_result *result,
                             struct weir_error *err);
void weir_import_free(struct weir_import_result *result);

/* `weir import`: argv[0] is "import". Exit 0; 1 when the file cannot be read; 2 for wrong usage; 3 with --strict when
 * something was left out or taken roughly. */
int weir_import_main(int argc, char **argv);
#endif
