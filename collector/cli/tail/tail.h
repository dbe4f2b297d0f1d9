/* tail.h - `weir tail`: a collector's decided traces (GET /tail), drawn in the terminal as they come. */
#ifndef WEIR_CLI_TAIL_H
#define WEIR_CLI_TAIL_H

/* argv[0] is "tail". The exit status: 0 (also after Ctrl-C, and when nobody reads stdout any more), 1 when the stream
 * broke or could not be had, 2 for wrong usage. */
int weir_tail_main(int argc, char **argv);
#endif
