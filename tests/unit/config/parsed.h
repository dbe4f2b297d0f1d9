/* parsed.h - texts that are a configuration, or are refused with a reason. */
#ifndef WEIR_TESTS_CONFIG_PARSED_H
#define WEIR_TESTS_CONFIG_PARSED_H
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "collector/config/limits.h"
#include "collector/config/load.h"
#include "collector/config/options.h"
#include "collector/config/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIB (1ull << 20)
#define MS  1000000ull

static const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 2, .memory_bytes = 0, .memory_what = ""};

static inline enum weir_status parse(const char *text, struct weir_config **config, struct weir_error *err) {
    return weir_config_parse("weir.yaml", (const uint8_t *)text, strlen(text), &machine, config, err);
}

static inline struct weir_config *accepts(const char *text) {
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    if (parse(text, &config, &err) != WEIR_OK) fail_msg("%s\nis refused: %s", text, err.text);
    return config;
}

static inline void refuses(const char *text, const char *reason) {
    struct weir_config *config = (void *)1;
    struct weir_error err = {0};
    if (parse(text, &config, &err) == WEIR_OK) fail_msg("%s\nis accepted, not refused with %s", text, reason);
    assert_int_equal(err.status, WEIR_INVALID);
    assert_ptr_equal(config, (void *)1);
    assert_string_equal(err.text, reason);
}
#endif
