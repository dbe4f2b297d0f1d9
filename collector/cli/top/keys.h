/* keys.h - what a terminal sends, as keys, and what each does to the screen's state. Pure. */
#ifndef WEIR_CLI_TOP_KEYS_H
#define WEIR_CLI_TOP_KEYS_H
#include "collector/cli/top/draw.h"

enum weir_key {
    WEIR_KEY_NONE, /* of no meaning here */
    WEIR_KEY_CHARACTER,
    WEIR_KEY_ENTER,
    WEIR_KEY_ESCAPE,
    WEIR_KEY_BACKSPACE,
    WEIR_KEY_UP,
    WEIR_KEY_DOWN,
    WEIR_KEY_LEFT,
    WEIR_KEY_RIGHT,
    WEIR_KEY_PAGE_UP,
    WEIR_KEY_PAGE_DOWN,
    WEIR_KEY_HOME,
    WEIR_KEY_END,
    WEIR_KEY_END_OF_TEXT, /* Ctrl-C, Ctrl-D, where the terminal makes no signal of it */
};
struct weir_key_read {
    enum weir_key key;
    char character;
};
/* Takes one key from bytes[0..size). Returns the bytes that it had: 0 when an escape sequence may go on, unless
 * `whole`: nothing more will come. */
size_t weir_key_read(const uint8_t *bytes, size_t size, bool whole, struct weir_key_read *key);

/* Of the table as it is on the screen. */
struct weir_top_shown {
    uint32_t rows, page_rows;
    uint32_t chosen_first; /* the first name of the chosen row; 0: there is none */
};
enum weir_top_wish { WEIR_TOP_GO_ON, WEIR_TOP_QUIT };
enum weir_top_wish weir_top_press(struct weir_top_state *state, const struct weir_key_read *key,
                                  const struct weir_top_shown *shown);
/* Brings chosen and scroll within the rows there are. */
void weir_top_within(struct weir_top_state *state, uint32_t rows, uint32_t page_rows);
#endif
