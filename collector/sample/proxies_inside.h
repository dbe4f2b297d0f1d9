/* proxies_inside.h - what the reader of `proxies:` and its table know of each other. */
#ifndef WEIR_SAMPLE_PROXIES_INSIDE_H
#define WEIR_SAMPLE_PROXIES_INSIDE_H
#include "collector/sample/proxies.h"

enum {
    PROXIES_ROWS_MAX = 20000, /* services and their operations, those of the default once more for each service */
    PROXIES_OPERATIONS_MAX = 2000,
    PROXIES_NODES_MAX = 64
};

/* name{label="value", ...} into exact_family and exact_labels; only = is known. False: it is none, or does not fit. */
bool weir_proxies_read_selector(const char *text, struct weir_proxies_service *service);
/* What is worked out of what was read: the default's operations, which every service has that has no such row; the
 * index by name; row_count. Where row_count is above PROXIES_ROWS_MAX the first is left out. False: out of memory. */
bool weir_proxies_finish(struct weir_proxies *proxies);
#endif
