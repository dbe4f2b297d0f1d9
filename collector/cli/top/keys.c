#include "collector/cli/top/keys.h"

#include <string.h>

/* ---- bytes to keys ---- */

/* ECMA-48 5.4: CSI, parameters 0x30-0x3f, intermediates 0x20-0x2f, a final byte 0x40-0x7e. What xterm and its like send
 * for keys without letters: ESC [ A, ESC O A, ESC [ 5 ~. */
static enum weir_key sequence_key(uint8_t last, unsigned number) {
    static const struct {
        uint8_t last;
        unsigned number;
        enum weir_key key;
    } keys[] = {
        {'A', 0, WEIR_KEY_UP},        {'B', 0, WEIR_KEY_DOWN}, {'C', 0, WEIR_KEY_RIGHT}, {'D', 0, WEIR_KEY_LEFT},
        {'H', 0, WEIR_KEY_HOME},      {'F', 0, WEIR_KEY_END},  {'~', 1, WEIR_KEY_HOME},  {'~', 4, WEIR_KEY_END},
        {'~', 7, WEIR_KEY_HOME},      {'~', 8, WEIR_KEY_END},  {'M', 0, WEIR_KEY_ENTER}, {'~', 5, WEIR_KEY_PAGE_UP},
        {'~', 6, WEIR_KEY_PAGE_DOWN},
    };
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++) {
        if (keys[i].last == last && (last != '~' || keys[i].number == number)) return keys[i].key;
    }
    return WEIR_KEY_NONE;
}

static size_t read_escape(const uint8_t *bytes, size_t size, bool whole, struct weir_key_read *key) {
    if (size == 1 || (bytes[1] != '[' && bytes[1] != 'O')) {
        key->key = WEIR_KEY_ESCAPE;
        return size == 1 && !whole ? 0 : 1;
    }
    unsigned number = 0;
    for (size_t at = 2; at < size; at++) {
        if (bytes[at] >= '0' && bytes[at] <= '9' && number < 1000) number = 10 * number + (bytes[at] - '0');
        if (bytes[at] < 0x20 || bytes[at] > 0x7e) return at; /* broken: what is here begins something else */
        if (bytes[at] < 0x40) continue;
        key->key = sequence_key(bytes[at], number);
        return at + 1;
    }
    return whole || size > 32 ? size : 0;
}

size_t weir_key_read(const uint8_t *bytes, size_t size, bool whole, struct weir_key_read *key) {
    *key = (struct weir_key_read){WEIR_KEY_NONE, 0};
    if (size == 0) return 0;
    switch (bytes[0]) {
    case 0x1b: return read_escape(bytes, size, whole, key);
    case '\r':
    case '\n': key->key = WEIR_KEY_ENTER; break;
    case 0x08:
    case 0x7f: key->key = WEIR_KEY_BACKSPACE; break;
    case 0x03:
    case 0x04: key->key = WEIR_KEY_END_OF_TEXT; break;
    default:
        if (bytes[0] >= 0x20) *key = (struct weir_key_read){WEIR_KEY_CHARACTER, (char)bytes[0]};
        break;
    }
    return 1;
}

/* ---- keys to what they do ---- */

void weir_top_within(struct weir_top_state *state, uint32_t rows, uint32_t page_rows) {
    if (page_rows == 0) page_rows = 1;
    if (state->chosen >= rows) state->chosen = rows == 0 ? 0 : rows - 1;
    if (state->scroll > state->chosen) state->scroll = state->chosen;
    if (state->chosen - state->scroll >= page_rows) state->scroll = state->chosen - page_rows + 1;
    uint32_t last = rows > page_rows ? rows - page_rows : 0;
    if (state->scroll > last) state->scroll = last;
}

static void show(struct weir_top_state *state, enum weir_top_table_kind table, uint32_t service) {
    state->table = table;
    state->service = service;
    state->chosen = state->scroll = 0;
    state->filter[0] = 0;
    if (table == WEIR_TOP_CALLS && state->sort > WEIR_TOP_BY_P99) state->sort = WEIR_TOP_BY_RATE;
}

static void sort_next(struct weir_top_state *state, int step) {
    int columns = state->table == WEIR_TOP_CALLS ? WEIR_TOP_BY_P99 + 1 : WEIR_TOP_COLUMNS;
    state->sort = (enum weir_top_column)(((int)state->sort + step + columns) % columns);
}

/* A whole character goes, with all bytes of its UTF-8. */
static void shorten(char *filter) {
    size_t size = strlen(filter);
    while (size > 0 && ((uint8_t)filter[--size] & 0xc0) == 0x80) {
    }
    filter[size] = 0;
}

static void press_filter(struct weir_top_state *state, const struct weir_key_read *key) {
    size_t size = strlen(state->filter);
    if (key->key == WEIR_KEY_CHARACTER && size + 1 < sizeof state->filter) {
        state->filter[size] = key->character;
        state->filter[size + 1] = 0;
    } else if (key->key == WEIR_KEY_BACKSPACE) {
        shorten(state->filter);
    } else if (key->key == WEIR_KEY_ENTER) {
        state->filtering = false;
    } else if (key->key == WEIR_KEY_ESCAPE) {
        state->filtering = false;
        state->filter[0] = 0;
    }
}

static void go_back(struct weir_top_state *state) {
    if (state->filter[0] != 0)
        state->filter[0] = 0;
    else if (state->table != WEIR_TOP_SERVICES)
        show(state, WEIR_TOP_SERVICES, WEIR_NAME_NONE);
}

/* Of the chosen service; where operations are shown, of all; of a call, of the one who calls. */
static void show_operations(struct weir_top_state *state, const struct weir_top_shown *shown, bool enter) {
    bool of_one = state->table == WEIR_TOP_OPERATIONS && state->service != WEIR_NAME_NONE;
    if (of_one && !enter)
        show(state, WEIR_TOP_OPERATIONS, WEIR_NAME_NONE);
    else if (!of_one && shown->chosen_first != WEIR_NAME_NONE)
        show(state, WEIR_TOP_OPERATIONS, shown->chosen_first);
}

static void move(struct weir_top_state *state, const struct weir_top_shown *shown, int64_t by) {
    int64_t to = (int64_t)state->chosen + by;
    state->chosen = to < 0 ? 0 : to > UINT32_MAX ? UINT32_MAX : (uint32_t)to;
    weir_top_within(state, shown->rows, shown->page_rows);
}

static enum weir_top_wish press_character(struct weir_top_state *state, char c, const struct weir_top_shown *shown) {
    switch (c) {
    case 'q': return WEIR_TOP_QUIT;
    case 's':
    case '>': sort_next(state, 1); break;
    case '<': sort_next(state, -1); break;
    case 'r': state->reverse = !state->reverse; break;
    case '/': state->filtering = true; break;
    case 'p': state->paused = !state->paused; break;
    case '?':
    case 'h': state->help = true; break;
    case 'o': show_operations(state, shown, false); break;
    case 'e': show(state, state->table == WEIR_TOP_CALLS ? WEIR_TOP_SERVICES : WEIR_TOP_CALLS, WEIR_NAME_NONE); break;
    case 'j': move(state, shown, 1); break;
    case 'k': move(state, shown, -1); break;
    default: break;
    }
    return WEIR_TOP_GO_ON;
}

enum weir_top_wish weir_top_press(struct weir_top_state *state, const struct weir_key_read *key,
                                  const struct weir_top_shown *shown) {
    int64_t page = shown->page_rows > 1 ? shown->page_rows - 1 : 1;
    if (key->key == WEIR_KEY_END_OF_TEXT) return WEIR_TOP_QUIT;
    if (state->help) { /* any key closes it */
        state->help = false;
        return key->key == WEIR_KEY_CHARACTER && key->character == 'q' ? WEIR_TOP_QUIT : WEIR_TOP_GO_ON;
    }
    if (state->filtering && key->key != WEIR_KEY_UP && key->key != WEIR_KEY_DOWN) {
        press_filter(state, key);
        return WEIR_TOP_GO_ON;
    }
    switch (key->key) {
    case WEIR_KEY_CHARACTER: return press_character(state, key->character, shown);
    case WEIR_KEY_ENTER: show_operations(state, shown, true); break;
    case WEIR_KEY_ESCAPE:
    case WEIR_KEY_BACKSPACE: go_back(state); break;
    case WEIR_KEY_UP: move(state, shown, -1); break;
    case WEIR_KEY_DOWN: move(state, shown, 1); break;
    case WEIR_KEY_LEFT: sort_next(state, -1); break;
    case WEIR_KEY_RIGHT: sort_next(state, 1); break;
    case WEIR_KEY_PAGE_UP: move(state, shown, -page); break;
    case WEIR_KEY_PAGE_DOWN: move(state, shown, page); break;
    case WEIR_KEY_HOME: move(state, shown, -(int64_t)UINT32_MAX); break;
    case WEIR_KEY_END: move(state, shown, UINT32_MAX); break;
    default: break;
    }
    return WEIR_TOP_GO_ON;
}
