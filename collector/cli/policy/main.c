#include "collector/cli/policy/policy.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>

static const struct command {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *help;
} commands[] = {
    {"show", weir_policy_show_main, "what proxies are told, why, what it comes to, and who follows"},
    {"diff", weir_policy_diff_main, "what another file would tell them differently"},
    {"simulate", weir_policy_simulate_main, "what a file would do to cost and accuracy, on recorded traffic"},
    {"render", weir_policy_render_main, "as a file for proxies that only read files: nginx, Linkerd 1, Envoy, SDKs"},
};
enum { COMMANDS = sizeof commands / sizeof commands[0] };

static void print_usage(FILE *out) {
    fputs("usage: weir policy COMMAND [OPTION...]        weir policy COMMAND --help explains one\n"
          "\n"
          "What proxies are told to sample: the `proxies:` part of sampling.yaml (docs/policy.md).\n"
          "\n",
          out);
    for (size_t i = 0; i < COMMANDS; i++)
        fprintf(out, "  %-10s%s\n", commands[i].name, commands[i].help);
}

int weir_policy_main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN); /* `weir policy show | head` ends by EPIPE, quietly */
    for (size_t i = 0; argc > 1 && i < COMMANDS; i++) {
        if (strcmp(argv[1], commands[i].name) == 0) return commands[i].run(argc - 1, argv + 1);
    }
    if (argc > 1 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0)) {
        print_usage(stdout);
        return 0;
    }
    if (argc > 1) fprintf(stderr, "weir policy: no command %s\n\n", argv[1]);
    print_usage(stderr);
    return 2;
}
