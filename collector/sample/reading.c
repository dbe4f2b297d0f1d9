#include "collector/sample/reading.h"
#include "collector/config/values.h"
#include "collector/core/operation.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

enum weir_status weir_reading_not_a(const struct weir_reading *reading, const struct weir_yaml *node, const char *key,
                                    const char *what) {
    char shown[64];
    if (!weir_reading_is_text(node)) return weir_reading_wrong_kind(reading, node, key, what);
    return weir_yaml_fail(reading->doc, node->line, reading->err, "%s: \"%s\" is not %s", key,
                          weir_yaml_show(node->raw, shown, sizeof shown), what);
}

/* ---- values ---- */

enum weir_status weir_reading_ratio(const struct weir_reading *reading, const struct weir_yaml *node, double *out) {
    if (weir_reading_is_text(node) && weir_value_ratio(node->text, out)) return WEIR_OK;
    return weir_reading_not_a(reading, node, node->key, "a rate of 0 to 1 or \"0%\" to \"100%\"");
}

enum weir_status weir_reading_number(const struct weir_reading *reading, const struct weir_yaml *node, double min,
                                     double max, const char *what, double *out) {
    double number;
    if (!weir_reading_is_text(node) || !weir_value_number(node->text, &number) || number < min || number > max)
        return weir_reading_not_a(reading, node, node->key, what);
    *out = number;
    return WEIR_OK;
}

enum weir_status weir_reading_whole(const struct weir_reading *reading, const struct weir_yaml *node, int64_t min,
                                    int64_t max, const char *what, int64_t *out) {
    int64_t number;
    if (!weir_reading_is_text(node) || !weir_value_integer(node->text, &number) || number < min || number > max)
        return weir_reading_not_a(reading, node, node->key, what);
    *out = number;
    return WEIR_OK;
}

enum weir_status weir_reading_duration(const struct weir_reading *reading, const struct weir_yaml *node,
                                       uint64_t min_ns, uint64_t max_ns, uint64_t *out_ns) {
    uint64_t ns;
    char what[96], low[24], high[24];
    if (weir_reading_is_text(node) && weir_value_duration(node->text, &ns) && ns >= min_ns && ns <= max_ns) {
        *out_ns = ns;
        return WEIR_OK;
    }
    weir_value_print_duration(min_ns, low, sizeof low);
    weir_value_print_duration(max_ns, high, sizeof high);
    snprintf(what, sizeof what, "a duration of %s to %s", low, high);
    return weir_reading_not_a(reading, node, node->key, what);
}

enum weir_status weir_reading_bytes(const struct weir_reading *reading, const struct weir_yaml *node, uint64_t min,
                                    uint64_t max, const char *what, uint64_t *out) {
    uint64_t bytes;
    if (!weir_reading_is_text(node) || !weir_value_bytes(node->text, &bytes) || bytes < min || bytes > max)
        return weir_reading_not_a(reading, node, node->key, what);
    *out = bytes;
    return WEIR_OK;
}

enum weir_status weir_reading_flag(const struct weir_reading *reading, const struct weir_yaml *node, bool *out) {
    if (weir_reading_is_text(node) && weir_value_bool(node->text, out)) return WEIR_OK;
    return weir_reading_not_a(reading, node, node->key, "true or false");
}

/* ---- names ---- */

enum weir_status weir_reading_intern(const struct weir_reading *reading, const struct weir_yaml *node, const char *text,
                                     size_t size, uint32_t *id) {
    *id = weir_names_intern(reading->names, text, size);
    if (*id == WEIR_NAME_NONE) return weir_yaml_fail(reading->doc, node->line, reading->err, "an empty name");
    if (*id != WEIR_NAME_OVERFLOW) return WEIR_OK;
    return weir_yaml_fail(reading->doc, node->line, reading->err,
                          "no room for one more name (memory.names), or the name is `overflow`");
}

static enum weir_status too_long(const struct weir_reading *reading, const struct weir_yaml *node, const char *path) {
    return weir_yaml_fail(reading->doc, node->line, reading->err, "%s: a name is longer than %d bytes", path,
                          WEIR_NAME_BYTES_MAX);
}

enum weir_status weir_reading_name(const struct weir_reading *reading, const struct weir_yaml *node, const char *path,
                                   uint32_t *id) {
    size_t size = strlen(node->key);
    if (size > WEIR_NAME_BYTES_MAX) return too_long(reading, node, path);
    return weir_reading_intern(reading, node, node->key, size, id);
}

enum weir_status weir_reading_operation(const struct weir_reading *reading, const struct weir_yaml *node,
                                        const char *path, uint32_t *id) {
    char name[WEIR_NAME_BYTES_MAX + 8];
    size_t size = strlen(node->key);
    if (size > WEIR_NAME_BYTES_MAX) return too_long(reading, node, path);
    size = weir_operation_template((const uint8_t *)node->key, size, name, sizeof name);
    return weir_reading_intern(reading, node, name, size, id);
}
