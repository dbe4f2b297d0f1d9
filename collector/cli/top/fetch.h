/* fetch.h - a Weir's /metrics, /policy and /-/ready, asked for together while keys are waited for too. */
#ifndef WEIR_CLI_TOP_FETCH_H
#define WEIR_CLI_TOP_FETCH_H
#include "collector/cli/ask.h"
#include "collector/cli/policy/view.h"
#include "collector/cli/top/page.h"

struct weir_top_fetch;

/* `ask` and `names` are kept. NULL: out of memory. */
struct weir_top_fetch *weir_top_fetch_new(const struct weir_ask *ask, struct weir_names *names);
/* Begins a question. False: one is under way, or err says why not. */
bool weir_top_fetch_start(struct weir_top_fetch *fetch, struct weir_error *err);
bool weir_top_fetch_busy(const struct weir_top_fetch *fetch);
/* Waits so long, until something comes of a question, or until one of fds can be read. */
void weir_top_fetch_wait(struct weir_top_fetch *fetch, const int *fds, int fd_count, int timeout_ms);

struct weir_top_answered {
    struct weir_top_page page;
    struct weir_policy_view policy;
    bool has_policy, ready;
};
/* A question that was answered since: true, and the answer is the caller's (clear, free); once for each. When it was
 * not answered, or by something else than a Weir, false and err->status says so. */
bool weir_top_fetch_take(struct weir_top_fetch *fetch, struct weir_top_answered *answered, struct weir_error *err);
void weir_top_fetch_free(struct weir_top_fetch *fetch);
#endif
