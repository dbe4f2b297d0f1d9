/* simulate.h - recorded traffic under another `proxies:` part: what proxies would send, and how sure the numbers
 * made of it would be.
 *
 * What is reported is expected, not drawn: a trace that stands for w, at a rate of p, is w p traces sent, and adds
 * w (1/p - 1) to the variance of whatever counts it (Horvitz-Thompson). So a recording that was sampled at 10 % can be
 * asked about 50 %. Where the file has budgets, floors or incidents, the controller of a running Weir
 * (sample/control.h) is stepped each second of the recording; it sees whole traces, chosen by a hash of their ids, so
 * that two runs say the same. A trace meets the rate that was in force when it began, and the controller hears of it
 * when it is complete. */
#ifndef WEIR_CLI_POLICY_SIMULATE_H
#define WEIR_CLI_POLICY_SIMULATE_H
#include "collector/cli/stored.h"
#include "collector/sample/control.h"

enum { WEIR_SIMULATED = 2 /* policies */, WEIR_SIMULATED_ROWS_MAX = 20000 };

/* Of whole traces; sums over the recording. */
struct weir_simulated_sums {
    double traces, spans, bytes;
    double variance;              /* of the count of requests that is estimated from them */
    double errors_variance;       /* of the count of those with an error */
    double unseen, errors_unseen; /* offered while the rate was 0: no estimate knows of them */
};
struct weir_simulated_row {
    uint32_t service, operation; /* of the root */
    double offered, errors;      /* traces, and those with an error, by their weights */
    struct weir_simulated_sums recorded, policies[WEIR_SIMULATED];
};
struct weir_simulated_policy {
    const char *path;
    struct weir_policy *policy; /* has a proxies part */
    double spans_max;           /* a second, over the 30 s that had most */
};
struct weir_simulation {
    struct weir_simulated_policy policies[WEIR_SIMULATED]; /* --policy, --old */
    int policy_count;
    uint32_t senders; /* proxies of each service, for budgets of a proxy's CPU; 1 */
    struct weir_stored_counts counts;
    double seconds; /* that the recording covers, without gaps */
    uint64_t rootless;
    struct weir_simulated_row *rows; /* by weir_simulation_sort() */
    uint32_t row_count;
    struct weir_simulation_state *state;
    bool failed; /* no memory */
};

/* Reads the paths, twice where a policy has anything to work out: its controller knows the traffic then, as that of a
 * Weir that runs for a while does. policies and senders are set. False: out of memory, or nothing to read.
 * progress: of one reading, as in struct weir_stored, with self. */
bool weir_simulation_run(struct weir_simulation *simulation, struct weir_names *names, char *const *paths,
                         int path_count, void (*progress)(void *self, uint64_t done_bytes, uint64_t all_bytes));
/* Adds each service's sum as a row of operation 0 before its operations; services by spans under the first policy. */
bool weir_simulation_sort(struct weir_simulation *simulation, const struct weir_names *names);
void weir_simulation_free(struct weir_simulation *simulation); /* not its policies */

void weir_simulated_add(struct weir_simulated_row *sum, const struct weir_simulated_row *row);
/* Standard error of an estimate, relative to it. Below 0: there is nothing to count; HUGE_VAL: nothing that is sent
 * would tell. */
double weir_simulated_error(double counted, double unseen, double variance);

void weir_simulation_print(const struct weir_simulation *simulation, const struct weir_names *names, uint32_t rows_max,
                           bool colour, bool unicode, struct weir_buffer *out);
void weir_simulation_print_json(const struct weir_simulation *simulation, const struct weir_names *names,
                                struct weir_buffer *out);
#endif
