/* plan_json.h - what proxies are told as JSON (RFC 8259): pieces of the admin's GET /policy, which `weir policy show`
 * reads. Versions are 16 hex digits; `since` is in Unix seconds; names are UTF-8 whatever came.
 *
 *   {"version":"..", "policy":"sampling.yaml",
 *    "sides":[{"side":"policy", "share":1, "plan":{..}, "budgets":{..}, "loads":[..],
 *              "estimates":[{"service":"pay", "ratio":1.002, "error":0.01}]}],   of weir_sampling_estimate_ratio
 *    "followers":[..]}                                                           of weir_steering_write() */
#ifndef WEIR_SAMPLE_PLAN_JSON_H
#define WEIR_SAMPLE_PLAN_JSON_H
#include "collector/core/buffer.h"
#include "collector/sample/control.h"

/* {"version","policy","default":{..},"services":[{"service","version","rate","why","since","max_traces_per_second",
 * "min_flush_spans","flush_interval","operations":[{"operation","rate","why","since"}]}]}. What is not said is left
 * out. */
void weir_plan_write(const struct weir_plan *plan, const struct weir_names *names, struct weir_buffer *out);
/* {"service","operation","offered","rate","spans_per_second","bytes_per_second","spans_offered","bytes_offered",
 * "proxy_cpu","incident"}; without "operation": the service's sum. */
void weir_control_view_write(const struct weir_control_view *view, const struct weir_names *names,
                             struct weir_buffer *out);
/* {"fleet":{"spans_per_second","bytes_per_second","proxy_cpu"},"services":[{"service", likewise}]}: bounds of the file,
 * of those that have any. */
void weir_proxies_write_budgets(const struct weir_proxies *proxies, const struct weir_names *names,
                                struct weir_buffer *out);
/* A text in quotes. */
void weir_plan_write_text(const char *text, size_t size, struct weir_buffer *out);
#endif
