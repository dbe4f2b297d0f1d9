/* admin.h - the admin HTTP (libmicrohttpd, on a loop and thread of its own): what people, Prometheus and orchestrators
 * ask. Where a bearer token is asked for, the pages of health go without.
 *   GET  /metrics                          Prometheus text 0.0.4, or OpenMetrics 1.0 (Accept), gzip where asked
 *   GET  /-/healthy /healthz               200 while the process runs
 *   GET  /-/ready /readyz                  200 while it takes work, 503 with the reason before and after
 *   POST /-/reload                         reads the configuration again; 200 or 400 with what was wrong
 *   GET  /tail                             decided traces as they are decided, newline-delimited JSON (watch.h)
 *   GET  /explain?trace_id=HEX             why a trace was, or would be, kept; 404 when no lane knows it
 *   GET  /policy                           what proxies are told, at what cost, and who follows it, as JSON
 *   GET  /sampling?service=S               what Jaeger's clients of a service are told to sample, from where one asks
 *   GET  /                                 an index for people */
#ifndef WEIR_SERVE_ADMIN_H
#define WEIR_SERVE_ADMIN_H
#include "collector/config/config.h"
#include "collector/core/buffer.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"

struct weir_admin;
struct weir_names;
struct weir_steering;
struct weir_taps;

struct weir_admin_calls {
    void *self;
    void (*expose)(void *self, bool exemplars, struct weir_buffer *out); /* all series of /metrics, text 0.0.4 */
    const char *(*not_ready)(void *self);                                /* NULL = ready */
    bool (*reload)(void *self, struct weir_buffer *answer);              /* text for the caller; false = 400 */
    /* Text for people; false: no such trace here, the text says what that means. */
    bool (*explain)(void *self, uint64_t trace_hi, uint64_t trace_lo, struct weir_buffer *out);
    void (*policy)(void *self, struct weir_buffer *out); /* what proxies are told, and follow: JSON */
    struct weir_taps *taps;                              /* for /tail; outlives the admin */
    struct weir_steering *steering;                      /* for /sampling; NULL: nothing is told */
    struct weir_names *names;
};

struct weir_admin_options {
    const struct weir_listen *listen;
    bool lifecycle;
    const struct weir_tls_config *tls;
    const char *bearer_token_file; /* "" = anybody may ask */
};

/* Listens and serves at once. *admin stays NULL on failure. */
enum weir_status weir_admin_open(struct weir_admin **admin, const struct weir_admin_options *options,
                                 const struct weir_admin_calls *calls, struct weir_metrics *metrics,
                                 const struct weir_clock *clock, struct weir_error *err);
void weir_admin_set_lifecycle(struct weir_admin *admin, bool lifecycle); /* live */
void weir_admin_close(struct weir_admin *admin);                         /* accepts NULL */
#endif
