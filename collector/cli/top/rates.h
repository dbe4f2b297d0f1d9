/* rates.h - two pages of one Weir, and what happened between them: rates, shares, percentiles. Pure. */
#ifndef WEIR_CLI_TOP_RATES_H
#define WEIR_CLI_TOP_RATES_H
#include "collector/cli/policy/view.h"
#include "collector/cli/top/page.h"

/* A counter's increase; one that fell began anew, and counted `now` since. */
double weir_top_increase(double before, double now);
/* The quantile q of what fell into buckets, as PromQL's histogram_quantile() has it: bounds rise, the last is +Inf,
 * counts are cumulative; linear within a bucket, the lowest begins at 0, and what is beyond the last bound reads as
 * that. NaN: nothing fell into any, or there is no +Inf. */
double weir_top_quantile(double q, const double *bounds, const double *counts, uint32_t count);

struct weir_top_exporter_rates {
    uint32_t name;
    double delivered, dropped; /* spans a second */
    double oldest_seconds, queue, spool, spool_limit;
    bool paused;
};
/* A second, where it is no gauge. */
struct weir_top_numbers {
    bool rated; /* there were two pages; else only gauges are known */
    double seconds, uptime_seconds;
    double rates[WEIR_TOP_VALUES];  /* of counters */
    double values[WEIR_TOP_VALUES]; /* of the newer page */
    bool seen[WEIR_TOP_VALUES];
    double cpu;       /* share of one core */
    double imbalance; /* the lesser of both pages: what is under way is only in one */
    char version[24];
    struct weir_top_exporter_rates exporters[WEIR_TOP_EXPORTERS];
    uint32_t exporter_count;
    uint64_t beyond;
    uint32_t services, silent; /* of the mesh; silent: had requests before and has none */
    double requests, failed;   /* requests a second of all services, and of those failed */
};
/* `before` is NULL while there is one page. unix_now: to say how long it runs. */
void weir_top_numbers(const struct weir_top_page *before, const struct weir_top_page *now, double unix_now,
                      struct weir_top_numbers *out);
/* Is it another process than the one of the page before? Counters of the two do not compare. */
bool weir_top_restarted(const struct weir_top_page *before, const struct weir_top_page *now);

enum weir_top_table_kind { WEIR_TOP_SERVICES, WEIR_TOP_OPERATIONS, WEIR_TOP_CALLS, WEIR_TOP_KINDS };

/* Unknown numbers are NaN. */
struct weir_top_row {
    uint32_t first, second;   /* names: service, or service and operation, or client and server */
    double rate;              /* requests, or calls, a second */
    double band;              /* rate is within +- so much, 95 of 100 times; 0: every request was counted */
    double errors;            /* share of them */
    double p50, p95, p99;     /* seconds */
    double spans;             /* a second, of all kinds */
    double sampled;           /* told to proxies */
    char why[WEIR_VIEW_WORD]; /* "" = nobody is told */
    double cost;      /* spans a second: with a policy of traces that begin here, at the rate told; else `spans` */
    double proxy_cpu; /* share of a core, of each proxy */
    bool incident;
    double failed, variance, calls; /* increases */
    double total;                   /* of calls, since the series began */
    double buckets[WEIR_TOP_BOUNDS];
};
struct weir_top_rows {
    struct weir_top_row *rows;
    uint32_t count, capacity;
};
/* The rows of a table. service: of operations those of this service, 0 of all. policy: NULL, or what proxies are told;
 * its names are the pages'. False: out of memory. */
bool weir_top_rows(const struct weir_top_page *before, const struct weir_top_page *now,
                   const struct weir_policy_view *policy, enum weir_top_table_kind kind, uint32_t service,
                   struct weir_top_rows *rows);
/* Of the spans that are offered the share that proxies are told to trace: of the service whose own row is `from`, or of
 * all from there on. NaN: nothing is offered. */
double weir_top_told(const struct weir_view_side *side, uint32_t from, bool whole);
void weir_top_rows_free(struct weir_top_rows *rows);
#endif
