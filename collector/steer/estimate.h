/* estimate.h - does what spans say agree with what the proxies themselves counted? For each service of the file, over a
 * sliding minute: requests that its server spans stand for, against the counter that `exact:` names, or, where nothing
 * is written, against emitter_requests_total{service}, which whoever uses libweir_emit sends. 1 within the error when
 * all is well; far from it when a source samples and nobody said so, or spans are lost.
 * Of the emitters' counter operations at rate 0 are left out: nobody traces them. Without the counter nothing is said.
 */
#ifndef WEIR_STEER_ESTIMATE_H
#define WEIR_STEER_ESTIMATE_H
#include "collector/aggregate/aggregate.h"
#include "collector/sample/proxies.h"

enum { WEIR_ESTIMATE_SECONDS = 60 };

struct weir_estimates;

struct weir_estimate {
    uint32_t service;
    double requests; /* that the exact counter grew by in the window */
    double ratio;    /* estimate / exact; below 0: the window has no requests, or one of the two is not there */
    double error;    /* standard error of the ratio */
};

struct weir_estimates *weir_estimates_new(void); /* NULL: out of memory */
/* The services to look at, NULL: none; what was gathered of those that stay, stays. False: out of memory, as it was. */
bool weir_estimates_set(struct weir_estimates *estimates, const struct weir_proxies *proxies);
/* About once a second. */
void weir_estimates_look(struct weir_estimates *estimates, struct weir_aggregate *aggregate,
                         const struct weir_names *names);
uint32_t weir_estimates_count(const struct weir_estimates *estimates);
struct weir_estimate weir_estimates_at(const struct weir_estimates *estimates, uint32_t i);
/* What the exact counter of a service grew by between the last two looks; below 0: not known. */
double weir_estimates_grown(const struct weir_estimates *estimates, uint32_t service);
void weir_estimates_free(struct weir_estimates *estimates); /* accepts NULL */
#endif
