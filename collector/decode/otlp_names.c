#include "collector/decode/otlp_names.h"
#include "collector/core/operation.h"
#include "collector/decode/redact.h"

uint32_t weir_otlp_operation(struct weir_otlp_names *names, const uint8_t *bytes, size_t size, bool *touched) {
    *touched = false;
    if (size == 0) return WEIR_NAME_NONE;
    uint64_t hash = weir_names_hash(names->names, bytes, size);
    struct weir_otlp_known *known = &names->operations[hash % WEIR_OTLP_NAMES_KEPT];
    if (known->hash == hash && known->id != WEIR_NAME_NONE) return known->id;
    *touched = !names->redacted && names->rules != NULL && weir_redact_names(names->rules, bytes, size);
    if (*touched) return WEIR_NAME_NONE; /* what may not be kept is not interned either */
    char text[5 * WEIR_NAME_BYTES_MAX / 2 + 4];
    /* A name is cut in the end: what lies behind cannot be seen. Never inside a UTF-8 sequence: a label must be UTF-8.
     */
    if (size > WEIR_NAME_BYTES_MAX) {
        size = WEIR_NAME_BYTES_MAX;
        while (size > 0 && (bytes[size] & 0xc0) == 0x80)
            size--;
    }
    size_t templated = weir_rules_has_operations(names->rules)
                           ? weir_rules_operation(names->rules, bytes, size, text, sizeof text)
                           : 0;
    if (templated == 0) templated = weir_operation_template(bytes, size, text, sizeof text);
    uint32_t id = weir_names_intern(names->names, text, templated);
    if (id != WEIR_NAME_OVERFLOW) *known = (struct weir_otlp_known){.hash = hash, .id = id};
    return id;
}

uint32_t weir_otlp_peer(struct weir_otlp_names *names, const uint8_t *bytes, size_t size) {
    uint64_t hash = weir_names_hash(names->names, bytes, size);
    struct weir_otlp_known *known = &names->peers[hash % WEIR_OTLP_NAMES_KEPT];
    if (known->hash == hash && known->id != WEIR_NAME_NONE) return known->id;
    uint32_t id = weir_names_intern(names->names, bytes, size);
    if (id != WEIR_NAME_OVERFLOW) *known = (struct weir_otlp_known){.hash = hash, .id = id};
    return id;
}
