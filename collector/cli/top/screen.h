/* screen.h - the terminal of `weir top`: another screen while it runs, keys as they are pressed, and all as it was
 * when it ends, also by a signal. ECMA-48 and xterm's private modes (ctlseqs, "DEC Private Mode Set"). */
#ifndef WEIR_CLI_TOP_SCREEN_H
#define WEIR_CLI_TOP_SCREEN_H
#include "collector/core/buffer.h"
#include "collector/core/error.h"

/* Takes stdin and stdout, both terminals, and the process's signals. One at a time. */
enum weir_status weir_screen_open(struct weir_error *err);
/* Can be read when a signal came. */
int weir_screen_signals(void);
/* The terminal's size, 80 x 24 when it does not say. */
void weir_screen_size(uint32_t *columns, uint32_t *lines);
/* Takes what signals asked for: Ctrl-Z stops the process here, with the terminal as it was. True: something changed
 * (size, or it goes on after a stop), draw. */
bool weir_screen_attend(void);
/* It is to end: SIGINT, SIGTERM, SIGHUP. */
bool weir_screen_ends(void);
/* Shows lines that each end in "\n", by one write. False: nobody looks any more. */
bool weir_screen_show(const struct weir_buffer *lines);
/* As it was before. May be called when it is not open. */
void weir_screen_close(void);
#endif
