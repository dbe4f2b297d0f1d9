/* The pull reader: by tables, and against jansson on documents made and broken at random. */
#include "collector/decode/json.h"

#include <jansson.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct weir_json of(const char *text) {
    return weir_json_of((const uint8_t *)text, strlen(text));
}

static const char *why_of(const char *text) {
    struct weir_json json = of(text);
    if (weir_json_skip(&json)) weir_json_end(&json);
    return json.why;
}

static void sound_texts(void **state) {
    (void)state;
    static const char *const texts[] = {
        "0",
        "-0",
        "12.5e-3",
        "1E+9",
        "true",
        "false",
        "null",
        "\"\"",
        "\"a\"",
        "[]",
        "{}",
        " [ ] ",
        "{\"a\":1}",
        "[1,2,[3,{\"b\":[]}]]",
        "\"\xff\"",
        "\"\\u00e9\"",
        "[\"\\\\\\\"\"]",
        "\t\r\n0",
        "{\"a\":{},\"a\":[]}",
        "\"a string that is longer than eight bytes\"",
    };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (why_of(texts[i]) != NULL) fail_msg("%s: %s", texts[i], why_of(texts[i]));
    }
}

static void broken_texts(void **state) {
    (void)state;
    static const struct {
        const char *text, *why;
        size_t at;
    } cases[] = {
        {"", "ends in the middle", 0},
        {"[", "ends in the middle", 1},
        {"[1", "ends in the middle", 2},
        {"[1,", "ends in the middle", 3},
        {"[1,]", "is not a value", 3},
        {"[,1]", "is not a value", 1},
        {"[1 2]", "neither a comma nor the end of the array", 3},
        {"{\"a\":1,}", "a key is no string", 7},
        {"{a:1}", "a key is no string", 1},
        {"{\"a\" 1}", "no colon behind a key", 5},
        {"{\"a\":1 \"b\":2}", "neither a comma nor the end of the object", 7},
        {"[1}", "neither a comma nor the end of the array", 2},
        {"01", "a number with a leading zero", 0},
        {"-", "is not a number", 0},
        {"1.", "a number without digits behind its point", 0},
        {"1e+", "a number without digits in its exponent", 0},
        {"tru", "is not a value", 0},
        {"nul", "is not a value", 0},
        {"1 1", "something stands behind the end", 2},
        {"\"abc", "a string has no end", 0},
        {"\"abc\\", "a string has no end", 4},
        {"\"\\x\"", "an unknown escape in a string", 1},
        {"\"\\u12g4\"", "\\u needs four hex digits", 1},
        {"\"0123456\n\"", "a control character in a string", 8},
        {"[][]", "something stands behind the end", 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_json json = of(cases[i].text);
        if (weir_json_skip(&json)) weir_json_end(&json);
        assert_non_null(json.why);
        assert_string_equal(json.why, cases[i].why);
        assert_int_equal(json.at - json.start, cases[i].at);
        assert_false(weir_json_skip(&json)); /* and it stays broken */
    }
}

static void depth_is_bounded(void **state) {
    (void)state;
    char text[200];
    for (int depth = WEIR_JSON_DEPTH_MAX; depth <= WEIR_JSON_DEPTH_MAX + 1; depth++) {
        for (int i = 0; i < depth; i++) {
            text[i] = '[';
            text[2 * depth - 1 - i] = ']';
        }
        text[2 * depth] = 0;
        if (depth == WEIR_JSON_DEPTH_MAX)
            assert_null(why_of(text));
        else
            assert_string_equal(why_of(text), "nested too deep");
    }
}

static void unescapes(void **state) {
    (void)state;
    static const struct {
        const char *text, *meaning;
    } cases[] = {
        {"\"\"", ""},
        {"\"a\\n\\t\\b\\f\\r\\/\\\\\\\"z\"", "a\n\t\b\f\r/\\\"z"},
        {"\"\\u00e9\\u20AC\"", "\xc3\xa9\xe2\x82\xac"},
        {"\"\\ud83d\\ude08\"", "\xf0\x9f\x98\x88"},
        {"\"\\ud83dx\\ude08\"", "\xef\xbf\xbdx\xef\xbf\xbd"},
        {"\"\\ud83d\\u0041\"", "\xef\xbf\xbd"
                               "A"},
        {"\"\\ud83d\"", "\xef\xbf\xbd"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct weir_json json = of(cases[i].text);
        struct weir_json_text text;
        uint8_t out[64];
        assert_true(weir_json_string(&json, &text));
        size_t size = weir_json_unescape(&text, out);
        assert_true(size <= text.size);
        assert_int_equal(size, strlen(cases[i].meaning));
        assert_memory_equal(out, cases[i].meaning, size);
        assert_true(weir_json_is(&text, cases[i].meaning));
        assert_false(weir_json_is(&text, "other"));
    }
}

static void numbers(void **state) {
    (void)state;
    uint64_t u;
    int64_t i;
    double d;
    struct weir_json json = of("18446744073709551615");
    assert_true(weir_json_u64(&json, &u) && u == UINT64_MAX);
    json = of("\"42\"");
    assert_true(weir_json_u64(&json, &u) && u == 42 && json.at == json.end);
    json = of("-0");
    assert_true(weir_json_u64(&json, &u) && u == 0);
    json = of("-9223372036854775808");
    assert_true(weir_json_i64(&json, &i) && i == INT64_MIN);
    json = of("\"-Infinity\"");
    assert_true(weir_json_double(&json, &d) && isinf(d) && d < 0);
    json = of("\"NaN\"");
    assert_true(weir_json_double(&json, &d) && isnan(d));
    json = of("\"0.25\"");
    assert_true(weir_json_double(&json, &d) && d == 0.25);
    static const struct {
        const char *text, *why;
        char as;
    } refused[] = {
        {"18446744073709551616", "is out of range", 'u'},
        {"-1", "is negative", 'u'},
        {"1.5", "is not a whole number", 'u'},
        {"1e3", "is not a whole number", 'u'},
        {"\"\"", "is not a number", 'u'},
        {"\"1 \"", "is not a number", 'u'},
        {"\"\\u0031\"", "is not a number", 'u'},
        {"9223372036854775808", "is out of range", 'i'},
        {"-9223372036854775809", "is out of range", 'i'},
        {"true", "is not a number", 'i'},
        {"\"nan\"", "is not a number", 'd'},
        {"1e999", "is not a number", 'd'},
    };
    for (size_t k = 0; k < sizeof refused / sizeof refused[0]; k++) {
        json = of(refused[k].text);
        bool read = refused[k].as == 'u'   ? weir_json_u64(&json, &u)
                    : refused[k].as == 'i' ? weir_json_i64(&json, &i)
                                           : weir_json_double(&json, &d);
        assert_false(read);
        assert_string_equal(json.why, refused[k].why);
    }
}

static void members_in_turn(void **state) {
    (void)state;
    struct weir_json json = of(" { \"a\" : [ 1 , 2 ] , \"b\" : { } , \"c\" : true , \"d\" : null } ");
    struct weir_json_text key;
    uint64_t value;
    bool is;
    assert_true(weir_json_object(&json));
    assert_true(weir_json_key(&json, &key) && weir_json_is(&key, "a"));
    assert_true(weir_json_array(&json));
    assert_true(weir_json_element(&json) && weir_json_u64(&json, &value) && value == 1);
    assert_true(weir_json_element(&json) && weir_json_u64(&json, &value) && value == 2);
    assert_false(weir_json_element(&json));
    assert_true(weir_json_key(&json, &key) && weir_json_is(&key, "b"));
    assert_true(weir_json_object(&json));
    assert_false(weir_json_key(&json, &key));
    assert_null(json.why);
    assert_true(weir_json_key(&json, &key) && weir_json_is(&key, "c"));
    assert_true(weir_json_bool(&json, &is) && is);
    assert_true(weir_json_key(&json, &key) && weir_json_is(&key, "d"));
    assert_true(weir_json_null(&json));
    assert_false(weir_json_key(&json, &key));
    assert_true(weir_json_end(&json));
}

/* ---- against jansson ---- */

static uint32_t seed = 1;
static uint32_t random_below(uint32_t n) {
    seed = seed * 1664525 + 1013904223; /* Numerical Recipes' generator */
    return (seed >> 8) % n;
}

static json_t *document(int depth) {
    switch (random_below(depth > 0 ? 7 : 5)) {
    case 0: return json_integer((json_int_t)random_below(100000) - 50000);
    case 1: return json_real((double)random_below(1000) / 8 - 40);
    case 2: return random_below(2) != 0 ? json_true() : json_null();
    case 3:
    case 4: {
        char text[24];
        uint32_t size = random_below(sizeof text);
        for (uint32_t i = 0; i < size; i++)
            text[i] = (char)(1 + random_below(126));
        return json_stringn(text, size);
    }
    case 5: {
        json_t *array = json_array();
        for (uint32_t n = random_below(5); n > 0; n--)
            json_array_append_new(array, document(depth - 1));
        return array;
    }
    default: {
        json_t *object = json_object();
        for (uint32_t n = random_below(5); n > 0; n--) {
            char key[8] = {(char)('a' + random_below(26)), (char)(random_below(2) != 0 ? '"' : 'x')};
            json_object_set_new(object, key, document(depth - 1));
        }
        return object;
    }
    }
}

/* Reads what comes into a tree of jansson's, by the calls that decoders use. NULL: broken. */
static json_t *tree(struct weir_json *json) {
    struct weir_json_text text;
    uint8_t plain[256], key[256];
    bool value;
    json_t *made = NULL;
    switch (weir_json_peek(json)) {
    case WEIR_JSON_OBJECT:
        made = json_object();
        for (bool ok = weir_json_object(json); ok && weir_json_key(json, &text);) {
            size_t size = weir_json_unescape(&text, key);
            json_t *member = tree(json);
            if (member == NULL) break;
            json_object_setn_new(made, (char *)key, size, member);
        }
        break;
    case WEIR_JSON_ARRAY:
        made = json_array();
        for (bool ok = weir_json_array(json); ok && weir_json_element(json);) {
            json_t *item = tree(json);
            if (item == NULL) break;
            json_array_append_new(made, item);
        }
        break;
    case WEIR_JSON_STRING:
        if (weir_json_string(json, &text)) made = json_stringn((char *)plain, weir_json_unescape(&text, plain));
        break;
    case WEIR_JSON_NUMBER: {
        struct weir_json again = *json;
        if (!weir_json_number(&again, &text)) {
            *json = again;
            return NULL;
        }
        if (memchr(text.bytes, '.', text.size) || memchr(text.bytes, 'e', text.size) ||
            memchr(text.bytes, 'E', text.size)) {
            double d;
            if (weir_json_double(json, &d)) made = json_real(d);
        } else {
            int64_t i;
            if (weir_json_i64(json, &i)) made = json_integer(i);
        }
        break;
    }
    case WEIR_JSON_TRUE:
    case WEIR_JSON_FALSE:
        if (weir_json_bool(json, &value)) made = json_boolean(value);
        break;
    case WEIR_JSON_NULL:
        if (weir_json_null(json)) made = json_null();
        break;
    default: weir_json_fail(json, "is not a value");
    }
    if (json->why != NULL) {
        json_decref(made);
        return NULL;
    }
    return made;
}

static void both_readers_agree(void **state) {
    (void)state;
    unsigned agreed = 0, refused = 0;
    for (int round = 0; round < 20000; round++) {
        json_t *doc = document(4);
        char *text = json_dumps(doc, JSON_ENCODE_ANY | (random_below(2) != 0 ? JSON_INDENT(1) : JSON_COMPACT));
        json_decref(doc);
        size_t size = strlen(text);
        if (round % 2 != 0 && size > 0) { /* broken in one place, or only changed */
            static const char with[] = "\"\\{}[],:0 1e.-tu\n";
            text[random_below((uint32_t)size)] = with[random_below(sizeof with - 1)];
        }
        json_t *want = json_loadb(text, size, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
        struct weir_json json = weir_json_of((const uint8_t *)text, size);
        json_t *have = tree(&json);
        if (have != NULL && !weir_json_end(&json)) {
            json_decref(have);
            have = NULL;
        }
        struct weir_json whole = weir_json_of((const uint8_t *)text, size);
        bool skipped = weir_json_skip(&whole) && weir_json_end(&whole);
        bool too_large = json.why != NULL && /* a matter of types, not of grammar */
                         (strcmp(json.why, "is not a number") == 0 || strcmp(json.why, "is out of range") == 0);
        if ((want == NULL) != (have == NULL) || (want != NULL && !json_equal(want, have)) ||
            (skipped != (have != NULL) && !too_large))
            fail_msg("%.*s: jansson %s, the reader %s (%s), skipping %d", (int)size, text,
                     want != NULL ? "takes it" : "refuses", have != NULL ? "takes it" : "refuses",
                     json.why != NULL ? json.why : "", skipped);
        agreed += want != NULL;
        refused += want == NULL;
        json_decref(want);
        json_decref(have);
        free(text);
    }
    assert_true(agreed > 10000 && refused > 1000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sound_texts),        cmocka_unit_test(broken_texts), cmocka_unit_test(depth_is_bounded),
        cmocka_unit_test(unescapes),          cmocka_unit_test(numbers),      cmocka_unit_test(members_in_turn),
        cmocka_unit_test(both_readers_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
