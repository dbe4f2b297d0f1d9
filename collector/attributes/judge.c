/* judge.c - success is what the team says it is, and what is no request is not counted. */
#include "collector/attributes/aliases.h"
#include "collector/attributes/inside.h"
#include "collector/core/wire.h"

#include <stdio.h>

bool weir_rules_judges(const struct weir_rules *rules) {
    return rules != NULL && rules->success_count + rules->exclude_count > 0;
}

struct value {
    uint32_t number; /* field of AnyValue; 0 = none */
    uint64_t bits;
    const uint8_t *text;
};

static bool read_pair(const struct weir_wire_field *attribute, const uint8_t **key, size_t *key_size,
                      struct value *value) {
    struct weir_wire pair = weir_wire_of(attribute->bytes, attribute->value);
    struct weir_wire_field field, inner;
    *key = NULL;
    *key_size = 0;
    *value = (struct value){0};
    while (weir_wire_next(&pair, &field)) {
        if (field.type != WEIR_WIRE_BYTES) continue;
        if (field.number == 1) {
            *key = field.bytes;
            *key_size = field.value;
        } else if (field.number == 2) {
            for (struct weir_wire any = weir_wire_of(field.bytes, field.value); weir_wire_next(&any, &inner);)
                *value = (struct value){inner.number, inner.value, inner.type == WEIR_WIRE_BYTES ? inner.bytes : NULL};
        }
    }
    return *key != NULL;
}

static bool value_is(const struct value *value, const char *want) {
    char text[32];
    switch (value->number) {
    case 1: return value->bits == strlen(want) && memcmp(value->text, want, value->bits) == 0;
    case 2: return strcmp(want, value->bits != 0 ? "true" : "false") == 0;
    case 3: snprintf(text, sizeof text, "%lld", (long long)value->bits); return strcmp(want, text) == 0;
    case 4: snprintf(text, sizeof text, "%.15g", weir_wire_double(value->bits)); return strcmp(want, text) == 0;
    default: return false;
    }
}

/* Walks the attributes for one that is wanted; the last one counts. -1 where a gRPC status is asked for: none. */
static bool has_attribute(const uint8_t *body, const struct weir_span *span, const char *key, const char *equals) {
    struct weir_wire wire = weir_wire_of(body, span->size);
    struct weir_wire_field field;
    bool found = false;
    while (weir_wire_next(&wire, &field)) {
        const uint8_t *name;
        size_t size;
        struct value value;
        if (field.number != 9 || field.type != WEIR_WIRE_BYTES || !read_pair(&field, &name, &size, &value)) continue;
        if (size == strlen(key) && memcmp(name, key, size) == 0) found = value_is(&value, equals);
    }
    return found;
}

static int grpc_code(const uint8_t *body, const struct weir_span *span) {
    struct weir_wire wire = weir_wire_of(body, span->size);
    struct weir_wire_field field;
    int code = -1;
    while (weir_wire_next(&wire, &field)) {
        const uint8_t *name;
        size_t size;
        struct value value;
        if (field.number != 9 || field.type != WEIR_WIRE_BYTES || !read_pair(&field, &name, &size, &value)) continue;
        const struct weir_alias *alias = weir_alias_of(name, size);
        if (alias == NULL || alias->role != WEIR_ROLE_GRPC_STATUS) continue;
        for (int i = 0; i <= 16; i++) {
            char text[4];
            snprintf(text, sizeof text, "%d", i);
            if (value_is(&value, text)) code = i;
        }
    }
    return code;
}

static bool fits(const struct weir_judge_config *judge, const struct weir_names *names, const uint8_t *body,
                 const struct weir_span *span) {
    size_t size;
    if (judge->service[0] != 0) {
        const char *service = weir_names_text(names, span->service, &size);
        if (!weir_pattern_fits(judge->service, service, size)) return false;
    }
    if (judge->operation[0] != 0) {
        const char *operation = weir_names_text(names, span->operation, &size);
        if (!weir_pattern_fits(judge->operation, operation, size)) return false;
    }
    if (judge->http_min != 0 && (span->http_status < judge->http_min || span->http_status > judge->http_max))
        return false;
    if (judge->grpc_codes != 0) {
        int code = grpc_code(body, span);
        if (code < 0 || (judge->grpc_codes >> code & 1) == 0) return false;
    }
    return judge->key[0] == 0 || has_attribute(body, span, judge->key, judge->equals);
}

void weir_rules_judge(const struct weir_rules *rules, const struct weir_names *names, const uint8_t *body,
                      struct weir_span *span) {
    for (uint32_t i = 0; i < rules->success_count; i++) {
        if (!fits(&rules->success[i], names, body, span)) continue;
        if (!rules->success[i].success)
            span->status = WEIR_STATUS_ERROR;
        else if (span->status == WEIR_STATUS_ERROR)
            span->status = WEIR_STATUS_OK;
        break;
    }
    if ((span->flags & WEIR_SPAN_UNCOUNTED) != 0) return; /* there is nothing to leave it out of */
    for (uint32_t i = 0; i < rules->exclude_count; i++) {
        if (!fits(&rules->exclude[i], names, body, span)) continue;
        span->flags |= WEIR_SPAN_UNCOUNTED;
        if (rules->excluded != NULL) weir_count_shared(rules->excluded, 0, 1);
        break;
    }
}
