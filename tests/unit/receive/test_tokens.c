#include "collector/receive/tokens.h"
#include "tests/unit/receive/certs.h"

static struct weir_tokens *tokens;

static bool allows(const char *header) {
    return weir_tokens_allow(tokens, header, header == NULL ? 0 : strlen(header));
}

static void opens(const char *text) {
    struct weir_error err = {0};
    weir_tokens_close(tokens);
    tokens = NULL;
    file_write("tokens", text);
    if (weir_tokens_open(&tokens, "grpc", certs_path("tokens"), &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_non_null(tokens);
}

static void refuses(const char *text, const char *why) {
    struct weir_error err = {0};
    struct weir_tokens *none = NULL;
    file_write("tokens", text);
    assert_int_equal(weir_tokens_open(&none, "admin", certs_path("tokens"), &err), WEIR_INVALID);
    assert_null(none);
    assert_non_null(strstr(err.text, "admin.bearer_token_file: "));
    if (strstr(err.text, why) == NULL) fail_msg("\"%s\" is not in \"%s\"", why, err.text);
    assert_null(strstr(err.text, "sesame"));
}

static void test_who_is_allowed(void **state) {
    (void)state;
    opens("# who writes\nalpha-1._~+/==\r\n\n  beta  \n");
    assert_true(allows("Bearer alpha-1._~+/=="));
    assert_true(allows("bearer beta"));
    assert_true(allows("BEARER   beta  "));
    static const char *const strangers[] = {NULL,
                                            "",
                                            "Bearer",
                                            "Bearer ",
                                            "Bearer bet",
                                            "Bearer betas",
                                            "Bearer beta alpha",
                                            "Bearerbeta",
                                            "Basic beta",
                                            "beta",
                                            "Bearer #",
                                            "Bearer # who writes",
                                            "Bearer alpha-1._~+/=",
                                            "Bearer\tbeta"};
    for (size_t i = 0; i < sizeof strangers / sizeof strangers[0]; i++) {
        if (allows(strangers[i])) fail_msg("\"%s\" is allowed", strangers[i]);
    }
    assert_false(weir_tokens_allow(tokens, "Bearer beta\0", 12));
    assert_true(weir_tokens_allow(tokens, "Bearer beta and what is not of the header", 11));
}

static void test_files(void **state) {
    (void)state;
    struct weir_error err = {0};
    struct weir_tokens *none = NULL;
    assert_int_equal(weir_tokens_open(&none, "grpc", "", &err), WEIR_OK);
    assert_null(none);
    assert_true(weir_tokens_allow(NULL, NULL, 0));
    weir_tokens_refresh(NULL);
    weir_tokens_close(NULL);
    refuses("", "holds no token");
    refuses("# nothing\n\n", "holds no token");
    refuses("ok\nopen sesame\n", ":2: not a token");
    refuses("sesame\x80\n", ":1: not a token");
    char many[300 * 4 + 1] = "";
    for (int i = 0; i < 257; i++)
        snprintf(many + 4 * i, 5, "%03d\n", i);
    refuses(many, "more than 256 tokens");
    many[256 * 4] = 0;
    opens(many);
    assert_true(allows("Bearer 000"));
    assert_true(allows("Bearer 255"));
    assert_false(allows("Bearer 256"));
    unlink(certs_path("tokens"));
    assert_int_equal(weir_tokens_open(&none, "grpc", certs_path("tokens"), &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "receivers.grpc.bearer_token_file: "));
    assert_non_null(strstr(err.text, "No such file"));
}

static void test_changes(void **state) {
    (void)state;
    opens("one\n");
    file_write("tokens", "two\nthree\n");
    weir_tokens_refresh(tokens);
    assert_false(allows("Bearer one"));
    assert_true(allows("Bearer two"));
    assert_true(allows("Bearer three"));
    file_write("tokens", "");
    weir_tokens_refresh(tokens);
    assert_true(allows("Bearer two"));
    unlink(certs_path("tokens"));
    weir_tokens_refresh(tokens);
    assert_true(allows("Bearer three"));
    file_write("tokens", "one\n");
    weir_tokens_refresh(tokens);
    assert_true(allows("Bearer one"));
    assert_false(allows("Bearer two"));
    weir_tokens_close(tokens);
    tokens = NULL;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_is_allowed),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_changes),
    };
    return cmocka_run_group_tests(tests, certs_setup, certs_teardown);
}
