#include "collector/decode/key.h"
#include "collector/core/point.h"
#include "collector/core/utf8.h"

#include <stdlib.h>
#include <string.h>

static const char exported[] = "exported_";
enum { NAME_BYTES = 1 + WEIR_METRIC_NAME_BYTES_MAX, LABEL_BYTES = sizeof exported + 1 + WEIR_LABEL_NAME_BYTES_MAX };

struct label {
    uint32_t name, name_size, value, value_size; /* in `held` */
};

struct weir_key {
    uint32_t value_bytes_max;
    uint32_t held_size;
    uint32_t name_size;
    uint32_t label_count;
    struct label labels[WEIR_LABELS_MAX];
    uint8_t *held; /* label names and values as they came in; room for one value in repair behind the last */
    uint8_t *out;  /* the key: begins with the metric's name from weir_key_name() on */
};

struct weir_key *weir_key_new(uint32_t label_value_bytes_max) {
    struct weir_key *key = calloc(1, sizeof *key);
    if (key == NULL) return NULL;
    key->value_bytes_max = label_value_bytes_max;
    size_t labels = (size_t)WEIR_LABELS_MAX * (LABEL_BYTES + label_value_bytes_max + 2);
    key->held = malloc(labels + 3 * (size_t)label_value_bytes_max);
    key->out = malloc(NAME_BYTES + labels);
    if (key->held == NULL || key->out == NULL) {
        weir_key_free(key);
        return NULL;
    }
    return key;
}

void weir_key_free(struct weir_key *key) {
    if (key == NULL) return;
    free(key->held);
    free(key->out);
    free(key);
}

/* One `_` a character: the bytes that continue a UTF-8 sequence leave nothing. */
static uint32_t clean(uint8_t *out, const uint8_t *name, size_t size, bool colon) {
    uint8_t *start = out;
    if (name[0] >= '0' && name[0] <= '9') *out++ = '_';
    for (size_t i = 0; i < size; i++) {
        uint8_t c = name[i], lower = c | 0x20;
        bool plain = (lower >= 'a' && lower <= 'z') || (c >= '0' && c <= '9') || (colon && c == ':');
        if (plain) {
            *out++ = c;
        } else if ((c & 0xc0) != 0x80 || i == 0) {
            *out++ = '_';
        }
    }
    return (uint32_t)(out - start);
}

bool weir_key_name(struct weir_key *key, const void *name, size_t size) {
    key->held_size = key->label_count = 0;
    key->name_size = 0;
    if (size == 0 || size > WEIR_METRIC_NAME_BYTES_MAX) return false;
    key->name_size = clean(key->out, name, size, true);
    return true;
}

static bool is(const uint8_t *name, uint32_t size, const char *text) {
    return size == strlen(text) && memcmp(name, text, size) == 0;
}

static bool reserved(const uint8_t *name, uint32_t size) {
    return (size >= 2 && name[0] == '_' && name[1] == '_') || is(name, size, "le") || is(name, size, "quantile") ||
           is(name, size, "overflow");
}

static size_t cut(const uint8_t *value, size_t size, size_t max) {
    if (size <= max) return size;
    size = max;
    for (int i = 0; i < 3 && size > 0 && (value[size] & 0xc0) == 0x80; i++)
        size--; /* do not end inside a UTF-8 sequence */
    return size;
}

static uint32_t copy_value(struct weir_key *key, uint8_t *out, const uint8_t *value, size_t size) {
    size_t n = cut(value, size, key->value_bytes_max);
    if (weir_utf8_valid(value, n)) {
        memcpy(out, value, n);
    } else {
        n = cut(out, weir_utf8_repair(value, n, out), key->value_bytes_max);
    }
    for (size_t i = 0; i < n; i++) {
        if (out[i] < 0x20) out[i] = ' ';
    }
    return (uint32_t)n;
}

bool weir_key_label(struct weir_key *key, const void *name, size_t name_size, const void *value, size_t value_size) {
    if (name_size == 0 || name_size > WEIR_LABEL_NAME_BYTES_MAX) return false;
    if (value_size == 0) return true; /* Prometheus: an empty label value is the same as no label */
    if (key->label_count == WEIR_LABELS_MAX) return false;
    struct label *label = &key->labels[key->label_count];
    uint8_t *at = key->held + key->held_size;
    label->name_size = clean(at, name, name_size, false);
    if (reserved(at, label->name_size)) {
        memmove(at + sizeof exported - 1, at, label->name_size);
        memcpy(at, exported, sizeof exported - 1);
        label->name_size += sizeof exported - 1;
    }
    label->name = key->held_size;
    label->value = label->name + label->name_size;
    label->value_size = copy_value(key, key->held + label->value, value, value_size);
    if (label->value_size == 0) return true;
    key->held_size = label->value + label->value_size;
    key->label_count++;
    return true;
}

const uint8_t *weir_key_value(const struct weir_key *key, const char *name, uint32_t *size) {
    for (uint32_t i = key->label_count; i-- > 0;) {
        const struct label *label = &key->labels[i];
        if (!is(key->held + label->name, label->name_size, name)) continue;
        *size = label->value_size;
        return key->held + label->value;
    }
    return NULL;
}

static int by_name(const struct weir_key *key, const struct label *a, const struct label *b) {
    uint32_t shorter = a->name_size < b->name_size ? a->name_size : b->name_size;
    int order = memcmp(key->held + a->name, key->held + b->name, shorter);
    return order != 0 ? order : (a->name_size > b->name_size) - (a->name_size < b->name_size);
}

/* Insertion sort: stable, so that of equal names the last given comes last; there are seldom more than eight. */
static void sort(struct weir_key *key) {
    for (uint32_t i = 1; i < key->label_count; i++) {
        struct label label = key->labels[i];
        uint32_t j = i;
        for (; j > 0 && by_name(key, &key->labels[j - 1], &label) > 0; j--)
            key->labels[j] = key->labels[j - 1];
        key->labels[j] = label;
    }
}

const uint8_t *weir_key_done(struct weir_key *key, uint32_t *size) {
    uint8_t *at = key->out + key->name_size;
    sort(key);
    for (uint32_t i = 0; i < key->label_count; i++) {
        const struct label *label = &key->labels[i];
        if (i + 1 < key->label_count && by_name(key, label, label + 1) == 0) continue; /* the last one wins */
        *at++ = WEIR_KEY_SEPARATOR;
        memcpy(at, key->held + label->name, label->name_size);
        at += label->name_size;
        *at++ = WEIR_KEY_SEPARATOR;
        memcpy(at, key->held + label->value, label->value_size);
        at += label->value_size;
    }
    *size = (uint32_t)(at - key->out);
    return key->out;
}
