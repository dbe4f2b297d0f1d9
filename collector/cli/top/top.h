/* top.h - `weir top`: a Weir, its mesh and what tracing costs, in a terminal that refreshes (docs/top.md). */
#ifndef WEIR_CLI_TOP_H
#define WEIR_CLI_TOP_H

/* argv[0] is "top". The exit status: 0; 1 when a single frame could not be had, or there is no terminal to show it on;
 * 2 for wrong usage. */
int weir_top_main(int argc, char **argv);
#endif
