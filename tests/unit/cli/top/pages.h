/* pages.h - pages of /metrics as tests write them. */
#ifndef WEIR_TEST_TOP_PAGES_H
#define WEIR_TEST_TOP_PAGES_H
#include "collector/cli/top/rates.h"

#include <string.h>

static struct weir_names *names;

static inline uint32_t name(const char *text) {
    return weir_names_intern(names, text, strlen(text));
}

static inline struct weir_top_page page_of(double seconds, const char *text) {
    struct weir_top_page page = {.names = names, .mono_ns = (uint64_t)(seconds * 1e9)};
    struct weir_exposition lines = {.take = weir_top_page_take};
    struct weir_top_page *place = &page;
    lines.self = place;
    weir_exposition_feed(&lines, text, strlen(text));
    weir_exposition_end(&lines);
    weir_exposition_free(&lines);
    return page;
}

/* Of SERVER spans of an operation. */
#define OK_CALLS(service, operation, value)                                                                            \
    "traces_spanmetrics_calls_total{service=\"" service "\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation     \
    "\",status_code=\"STATUS_CODE_UNSET\"} " value "\n"
#define BAD_CALLS(service, operation, value)                                                                           \
    "traces_spanmetrics_calls_total{service=\"" service "\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation     \
    "\",status_code=\"STATUS_CODE_ERROR\"} " value "\n"
#define CLIENT_CALLS(service, operation, value)                                                                        \
    "traces_spanmetrics_calls_total{service=\"" service "\",span_kind=\"SPAN_KIND_CLIENT\",span_name=\"" operation     \
    "\",status_code=\"STATUS_CODE_UNSET\"} " value "\n"
#define VARIANCE(service, operation, value)                                                                            \
    "weir_spanmetrics_calls_variance_total{service=\"" service                                                         \
    "\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation "\",status_code=\"STATUS_CODE_UNSET\"} " value "\n"
#define SERVICE_VARIANCE(service, operation, value)                                                                    \
    "weir_spanmetrics_service_variance_total{service=\"" service                                                       \
    "\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation "\",status_code=\"STATUS_CODE_UNSET\"} " value "\n"
#define BUCKET(service, operation, le, value)                                                                          \
    "traces_spanmetrics_latency_bucket{service=\"" service "\",span_kind=\"SPAN_KIND_SERVER\",span_name=\"" operation  \
    "\",status_code=\"STATUS_CODE_UNSET\",le=\"" le "\"} " value "\n"
#define CALL(family, client, server, value) family "{client=\"" client "\",server=\"" server "\"} " value "\n"
#define OWN                                                                                                            \
    "weir_build_info{version=\"1.2.3\"} 1\nprocess_start_time_seconds 1000\nweir_config_last_reload_successful 1\n"

static inline int set_names(void **state) {
    (void)state;
    names = weir_names_new(1000, 1 << 20);
    return names == NULL;
}
static inline int free_names(void **state) {
    (void)state;
    weir_names_free(names);
    return 0;
}
#endif
