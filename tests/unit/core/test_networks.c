#include "collector/core/networks.h"
#include "unit.h"

#include <string.h>

static void refuses(const char *text) {
    struct weir_networks networks = {.count = 7};
    char why[160] = "";
    if (weir_networks_parse(text, &networks, why, sizeof why)) fail_msg("\"%s\" was read", text);
    assert_int_equal(networks.count, 7);
    assert_true(why[0] != 0);
}

static void test_contains(void **state) {
    (void)state;
    static const struct {
        const char *networks, *address;
        bool inside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.0.0.0/8, 192.168.4.0/22", "192.168.7.255", true},
        {"10.0.0.0/8, 192.168.4.0/22", "192.168.8.0", false},
        {"10.0.0.0/8,fd00::/8", "fdff::1", true},
        {"10.0.0.0/8,fd00::/8", "fe00::1", false},
        {"192.0.2.7", "192.0.2.7", true},
        {"192.0.2.7", "192.0.2.6", false},
        {"192.0.2.6/31", "192.0.2.7", true},
        {"::1", "::1", true},
        {"::1", "::2", false},
        {"0.0.0.0/0", "203.0.113.9", true},
        {"0.0.0.0/0", "2001:db8::1", false},
        {"::/0", "203.0.113.9", true}, /* as IPv4-mapped */
        {"2001:db8:8000::/33", "2001:db8:ffff::", true},
        {"2001:db8:8000::/33", "2001:db8:7fff::", false},
        {"10.0.0.0/8", "::ffff:10.1.2.3", true},
        {"10.0.0.0/8", "", false},
        {"10.0.0.0/8", "nonsense", false},
        {"", "10.0.0.1", false},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        struct weir_networks networks;
        char why[160] = "";
        if (!weir_networks_parse(rows[i].networks, &networks, why, sizeof why)) fail_msg("%s", why);
        if (weir_networks_contain(&networks, rows[i].address) != rows[i].inside)
            fail_msg("%s in %s", rows[i].address, rows[i].networks);
    }
}

static void test_refuses(void **state) {
    (void)state;
    refuses("10.0.0.0/33");
    refuses("10.0.0.0/");
    refuses("10.0.0.0/-1");
    refuses("10.0.0.0/ 8");
    refuses("10.0.0.1/8"); /* somebody meant one of the two */
    refuses("fd00::/129");
    refuses("fd00::1/64");
    refuses("10.0.0/8");
    refuses("example.org");
    refuses("10.0.0.0/8,");
    refuses(",10.0.0.0/8");
    refuses("10.0.0.0/8 fd00::/8");
    char many[33 * 9 + 1] = "";
    for (int i = 0; i < 33; i++)
        strcat(many, i == 0 ? "10.0.0.1" : ",10.0.0.1");
    refuses(many);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_contains), cmocka_unit_test(test_refuses)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
