/* named.h - a table of names for the tests of one program. */
#ifndef WEIR_TESTS_NAMED_H
#define WEIR_TESTS_NAMED_H
#include "collector/core/names.h"

#include <string.h>

static struct weir_names *names;

/* A group's setup, and its teardown. */
static inline int open_names(void **state) {
    (void)state;
    names = weir_names_new(65536, 4 << 20);
    return names == NULL ? -1 : 0;
}
static inline int close_names(void **state) {
    (void)state;
    weir_names_free(names);
    return 0;
}
static inline uint32_t id(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}
#endif
