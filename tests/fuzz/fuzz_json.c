/* JSON by the pull reader: skipping a text and reading it value by value take the same texts. */
#include "collector/decode/json.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool walk(struct weir_json *json) {
    struct weir_json_text text;
    uint8_t *plain;
    bool value;
    switch (weir_json_peek(json)) {
    case WEIR_JSON_OBJECT:
        for (bool ok = weir_json_object(json); ok && weir_json_key(json, &text);) {
            if (!walk(json)) return false;
        }
        return json->why == NULL;
    case WEIR_JSON_ARRAY:
        for (bool ok = weir_json_array(json); ok && weir_json_element(json);) {
            if (!walk(json)) return false;
        }
        return json->why == NULL;
    case WEIR_JSON_STRING:
        if (!weir_json_string(json, &text)) return false;
        plain = malloc(text.size + 1);
        if (plain == NULL) return false;
        if (weir_json_unescape(&text, plain) > text.size) abort();
        free(plain);
        return true;
    case WEIR_JSON_NUMBER: return weir_json_number(json, &text);
    case WEIR_JSON_TRUE:
    case WEIR_JSON_FALSE: return weir_json_bool(json, &value);
    case WEIR_JSON_NULL: return weir_json_null(json);
    default: return weir_json_fail(json, "is not a value");
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct weir_json json = weir_json_of(data, size), again = json;
    bool walked = walk(&json) && weir_json_end(&json);
    bool skipped = weir_json_skip(&again) && weir_json_end(&again);
    if (walked != skipped || (json.why == NULL) != walked || (again.why == NULL) != skipped) abort();
    if (json.at > json.end || json.at < json.start || again.at != json.at) abort();
    struct weir_json number = weir_json_of(data, size);
    double d;
    uint64_t u;
    int64_t i;
    weir_json_double(&number, &d);
    number = weir_json_of(data, size);
    weir_json_u64(&number, &u);
    number = weir_json_of(data, size);
    weir_json_i64(&number, &i);
    return 0;
}
