/* Addresses at once, names on a thread, and a caller that goes before the answer. */
#include "collector/rpc/resolve.h"
#include "tests/unit/threads.h"

#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static void test_an_address_is_known_at_once(void **state) {
    (void)state;
    static const struct {
        const char *host;
        int family;
    } rows[] = {{"127.0.0.1", AF_INET}, {"::1", AF_INET6}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_resolve *resolve = weir_rpc_resolve_start(rows[i].host, "4317");
        struct addrinfo *addresses = NULL;
        struct weir_error err;
        assert_true(weir_rpc_resolve_done(resolve, &addresses, &err));
        assert_int_equal(addresses->ai_family, rows[i].family);
        assert_int_equal(addresses->ai_socktype, SOCK_STREAM);
        freeaddrinfo(addresses);
        weir_rpc_resolve_free(resolve);
    }
}

static void test_a_name_is_known_later(void **state) {
    (void)state;
    static const struct {
        const char *host;
        bool there;
    } rows[] = {{"localhost", true}, {"no..such.host", false}};
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct weir_rpc_resolve *resolve = weir_rpc_resolve_start(rows[i].host, "4317");
        struct pollfd known = {.fd = weir_rpc_resolve_fd(resolve), .events = POLLIN};
        struct addrinfo *addresses = NULL;
        struct weir_error err = {0};
        assert_int_equal(poll(&known, 1, 600000), 1); /* a resolver has its own patience */
        assert_true(weir_rpc_resolve_done(resolve, &addresses, &err));
        assert_int_equal(addresses != NULL, rows[i].there);
        if (!rows[i].there) assert_non_null(strstr(err.text, "no..such.host: look-up"));
        if (addresses != NULL) freeaddrinfo(addresses);
        weir_rpc_resolve_free(resolve);
    }
}

static void test_nobody_has_to_wait(void **state) {
    (void)state;
    for (int i = 0; i < 20; i++) /* the sanitizers watch */
        weir_rpc_resolve_free(weir_rpc_resolve_start("localhost", "4317"));
    struct weir_rpc_resolve *resolve = weir_rpc_resolve_start("127.0.0.1", "4317");
    weir_rpc_resolve_free(resolve); /* known, and not asked for */
    weir_rpc_resolve_free(NULL);
}

static void test_too_long_a_name(void **state) {
    (void)state;
    char name[300];
    memset(name, 'a', sizeof name);
    name[sizeof name - 1] = 0;
    assert_null(weir_rpc_resolve_start(name, "4317"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_address_is_known_at_once),
        cmocka_unit_test(test_a_name_is_known_later),
        cmocka_unit_test(test_nobody_has_to_wait),
        cmocka_unit_test(test_too_long_a_name),
    };
    return cmocka_run_group_tests(tests, count_threads, threads_are_gone);
}
