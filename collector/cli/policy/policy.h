/* policy.h - `weir policy COMMAND`: what proxies are told, from a file or from a Weir that runs (docs/policy.md). Each
 * command is a file COMMAND.c with one function, and a row in main.c. */
#ifndef WEIR_CLI_POLICY_H
#define WEIR_CLI_POLICY_H
#include "collector/cli/ask.h"
#include "collector/sample/plan.h"
#include "collector/sample/policy.h"

int weir_policy_main(int argc, char **argv); /* argv[0] is "policy"; the exit status */

/* argv[0] is the command's name; 0, 1 when something is wrong (told on stderr), 2 for wrong usage. */
int weir_policy_render_main(int argc, char **argv);
int weir_policy_show_main(int argc, char **argv);
int weir_policy_simulate_main(int argc, char **argv);
int weir_policy_diff_main(int argc, char **argv); /* as diff: 0 the same, 1 different, 2 an error */

/* A policy that was read from a file, its names, and what proxies are told by it. Zero it first; it may be freed
 * whatever was read. */
struct weir_policy_file {
    char path[512]; /* of the policy */
    struct weir_names *names;
    struct weir_policy *policy;
    struct weir_plan *plan; /* NULL: the file tells proxies nothing */
};
/* `policy` is a sampling.yaml; or NULL, and `config` is a weir.yaml that names one. err->text is for stderr. */
enum weir_status weir_policy_file_read(struct weir_policy_file *file, const char *policy, const char *config,
                                       struct weir_error *err);
/* The same of a Weir that runs: what it tells now, budgets and all. `policy` stays NULL. */
enum weir_status weir_policy_file_fetch(struct weir_policy_file *file, const struct weir_ask *ask,
                                        struct weir_error *err);
void weir_policy_file_free(struct weir_policy_file *file);
#endif
