/* spool.h - `weir spool ls|cat|verify|replay`: what lies in spool.directory (docs/spool.md). */
#ifndef WEIR_CLI_SPOOL_H
#define WEIR_CLI_SPOOL_H
int weir_spool_main(int argc, char **argv); /* argv[0] is "spool"; the exit status */
#endif
