#include "collector/cli/terminal.h"
#include "collector/cli/top/fetch.h"
#include "collector/cli/top/keys.h"
#include "collector/cli/top/options.h"
#include "collector/cli/top/screen.h"
#include "collector/cli/top/top.h"
#include "collector/core/clock.h"

#include <curl/curl.h>
#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PAGES = 6, /* rates are of five intervals: of one alone a seldom request makes them jump */
    KEYS_BYTES = 256,
    ESCAPE_MS = 50, /* so long an ESC may be the beginning of a key's sequence */
    TICK_MS = 1000, /* the clock goes on, and the age of numbers */
};

struct top {
    struct weir_top_options options;
    struct weir_top_state state;
    struct weir_top_look look;
    struct weir_names *names;
    struct weir_top_fetch *fetch;
    struct weir_top_page pages[PAGES]; /* the oldest first; of one process */
    uint32_t page_count;
    struct weir_policy_view policy;
    bool has_policy, ready, answered;
    struct weir_error complaint; /* status WEIR_OK: the last question was answered */
    uint64_t answered_ns, next_ns;
    struct weir_top_rows services, rows;
    struct weir_top_shown shown;
    uint32_t chosen_first, chosen_second; /* names of the chosen row, which it keeps when others pass it */
    uint8_t keys[KEYS_BYTES];
    size_t keys_size;
};

static uint64_t now_ns(void) {
    return weir_mono_ns(&weir_clock_system);
}

/* ---- what was answered ---- */

static void forget_pages(struct top *top, uint32_t count) {
    for (uint32_t i = 0; i < count; i++)
        weir_top_page_clear(&top->pages[i]);
    memmove(top->pages, top->pages + count, (PAGES - count) * sizeof *top->pages);
    top->page_count -= count;
}

static void keep(struct top *top, struct weir_top_answered *answered) {
    if (top->page_count > 0 && weir_top_restarted(&top->pages[top->page_count - 1], &answered->page))
        forget_pages(top, top->page_count);
    if (top->page_count == PAGES) forget_pages(top, 1);
    top->pages[top->page_count++] = answered->page;
    weir_policy_view_free(&top->policy);
    top->policy = answered->policy;
    top->has_policy = answered->has_policy;
    top->ready = answered->ready;
    top->answered = true;
    top->answered_ns = answered->page.mono_ns;
}

/* True: something was, or was refused. */
static bool take(struct top *top) {
    struct weir_top_answered answered;
    struct weir_error err;
    if (weir_top_fetch_take(top->fetch, &answered, &err)) {
        keep(top, &answered);
    } else if (err.status == WEIR_OK) {
        return false;
    }
    top->complaint = err;
    return true;
}

/* ---- a frame ---- */

static const struct weir_top_page *page_of(const struct top *top, bool newest) {
    static const struct weir_top_page none;
    if (newest) return top->page_count == 0 ? &none : &top->pages[top->page_count - 1];
    return top->page_count < 2 ? NULL : &top->pages[0];
}

static uint32_t find_chosen(const struct top *top) {
    for (uint32_t i = 0; i < top->rows.count; i++) {
        const struct weir_top_row *row = &top->rows.rows[i];
        if (row->first == top->chosen_first && row->second == top->chosen_second) return i;
    }
    return top->state.chosen;
}

static void note_chosen(struct top *top) {
    const struct weir_top_row *row = top->state.chosen < top->rows.count ? &top->rows.rows[top->state.chosen] : NULL;
    top->chosen_first = row == NULL ? 0 : row->first;
    top->chosen_second = row == NULL ? 0 : row->second;
}

static bool fill_rows(struct top *top, struct weir_top_frame *frame) {
    const struct weir_top_page *before = page_of(top, false), *now = page_of(top, true);
    const struct weir_policy_view *policy = top->has_policy ? &top->policy : NULL;
    if (top->page_count == 0) return true;
    if (!weir_top_rows(before, now, policy, WEIR_TOP_SERVICES, 0, &top->services) ||
        !weir_top_rows(before, now, policy, top->state.table, top->state.service, &top->rows))
        return false;
    frame->unfiltered = top->rows.count;
    weir_top_arrange(&top->state, top->names, &top->rows);
    return true;
}

static void draw(struct top *top, struct weir_buffer *out) {
    char clock[16] = "";
    struct tm local;
    time_t seconds = (time_t)(weir_unix_ns(&weir_clock_system) / WEIR_S);
    if (localtime_r(&seconds, &local) != NULL) strftime(clock, sizeof clock, "%H:%M:%S", &local);
    struct weir_top_numbers numbers = {0};
    struct weir_top_known known = {.numbers = &numbers,
                                   .services = &top->services,
                                   .policy = top->has_policy ? &top->policy : NULL,
                                   .names = top->names,
                                   .ready = top->ready,
                                   .silent = top->complaint.status != WEIR_OK};
    struct weir_top_frame frame = {.state = &top->state,
                                   .known = &known,
                                   .rows = &top->rows,
                                   .source = top->options.ask.admin,
                                   .clock = clock,
                                   .complaint = top->complaint.status != WEIR_OK ? top->complaint.text : NULL,
                                   .age_seconds = (double)(now_ns() - top->answered_ns) / 1e9,
                                   .answered = top->answered};
    if (top->page_count > 0)
        weir_top_numbers(page_of(top, false), page_of(top, true), (double)weir_unix_ns(&weir_clock_system) / 1e9,
                         &numbers);
    if (!fill_rows(top, &frame)) weir_fail(&top->complaint, WEIR_FULL, ENOMEM, true, "out of memory");
    if (top->state.chosen > 0) top->state.chosen = find_chosen(top);
    uint32_t page_rows = weir_top_page_rows(&top->look, &frame);
    if (top->look.live) weir_top_within(&top->state, top->rows.count, page_rows);
    note_chosen(top);
    top->shown = (struct weir_top_shown){top->rows.count, page_rows, top->chosen_first};
    weir_top_draw(&frame, &top->look, out);
}

/* ---- once ---- */

static bool ask_and_wait(struct top *top) {
    if (!weir_top_fetch_start(top->fetch, &top->complaint)) return false;
    while (!take(top))
        weir_top_fetch_wait(top->fetch, NULL, 0, TICK_MS);
    return top->complaint.status == WEIR_OK;
}

/* A service is named on the command line, and its row may be the first that has the name. */
static void choose_service(struct top *top) {
    if (top->options.service != NULL)
        top->state.service = weir_names_intern(top->names, top->options.service, strlen(top->options.service));
}

static int show_once(struct top *top) {
    struct weir_buffer out = {0};
    bool ok = ask_and_wait(top);
    if (ok) {
        struct timespec rest = {(time_t)(top->options.interval_ns / WEIR_S), (long)(top->options.interval_ns % WEIR_S)};
        nanosleep(&rest, NULL);
        ok = ask_and_wait(top);
    }
    if (!ok) {
        fprintf(stderr, "weir top: %s: %s\n", top->options.ask.admin, top->complaint.text);
        return 1;
    }
    draw(top, &out);
    bool wrote = !out.failed && fwrite(out.bytes, 1, out.size, stdout) == out.size && fflush(stdout) == 0;
    if (!wrote && errno != EPIPE) fprintf(stderr, "weir top: stdout: %s\n", strerror(errno));
    weir_buffer_free(&out);
    return wrote || errno == EPIPE ? 0 : 1;
}

/* ---- and on ---- */

/* The second question follows soon, so that there are rates. */
static void ask_when_due(struct top *top) {
    uint64_t now = now_ns();
    if (top->state.paused || weir_top_fetch_busy(top->fetch) || now < top->next_ns) return;
    uint64_t interval = top->options.interval_ns;
    if (top->page_count == 0 && interval > WEIR_S && top->complaint.status == WEIR_OK) interval = WEIR_S;
    top->next_ns = now + interval;
    weir_top_fetch_start(top->fetch, &top->complaint);
}

static int wait_ms(const struct top *top) {
    uint64_t now = now_ns(), rest = top->next_ns > now ? (top->next_ns - now) / WEIR_MS + 1 : 1;
    if (top->keys_size > 0) return ESCAPE_MS;
    if (top->state.paused || weir_top_fetch_busy(top->fetch) || rest > TICK_MS) return TICK_MS;
    return (int)rest;
}

static bool apply_keys(struct top *top, bool whole) {
    size_t at = 0;
    bool quit = false;
    while (!quit && at < top->keys_size) {
        struct weir_key_read key;
        size_t had = weir_key_read(top->keys + at, top->keys_size - at, whole, &key);
        if (had == 0) break;
        at += had;
        quit = weir_top_press(&top->state, &key, &top->shown) == WEIR_TOP_QUIT;
        /* Which row is chosen is by its name from now on. */
        note_chosen(top);
    }
    memmove(top->keys, top->keys + at, top->keys_size - at);
    top->keys_size -= at;
    return !quit;
}

/* False: end. *pressed: something was. */
static bool read_keys(struct top *top, bool *pressed) {
    struct timeval none = {0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(STDIN_FILENO, &set);
    *pressed = select(STDIN_FILENO + 1, &set, NULL, NULL, &none) > 0;
    if (!*pressed) {
        *pressed = top->keys_size > 0;
        return apply_keys(top, true);
    }
    ssize_t got = read(STDIN_FILENO, top->keys + top->keys_size, sizeof top->keys - top->keys_size);
    if (got == 0 || (got < 0 && errno != EINTR && errno != EAGAIN)) return false; /* the terminal is gone */
    if (got > 0) top->keys_size += (size_t)got;
    return apply_keys(top, top->keys_size == sizeof top->keys);
}

static bool show(struct top *top) {
    struct weir_buffer out = {0};
    weir_screen_size(&top->look.columns, &top->look.lines);
    draw(top, &out);
    bool ok = !out.failed && weir_screen_show(&out);
    weir_buffer_free(&out);
    return ok;
}

static void watch(struct top *top) {
    const int fds[] = {STDIN_FILENO, weir_screen_signals()};
    bool go_on = show(top);
    for (uint64_t drawn = now_ns(); go_on && !weir_screen_ends();) {
        bool pressed, paused = top->state.paused;
        ask_when_due(top);
        weir_top_fetch_wait(top->fetch, fds, 2, wait_ms(top));
        bool changed = weir_screen_attend();
        go_on = read_keys(top, &pressed);
        if (paused && !top->state.paused) top->next_ns = 0;
        changed = take(top) || changed || pressed;
        if (!go_on || weir_screen_ends()) break;
        if (!changed && now_ns() - drawn < TICK_MS * WEIR_MS) continue;
        go_on = show(top);
        drawn = now_ns();
    }
}

static void set_look(struct top *top, bool live) {
    struct weir_terminal terminal = weir_terminal_of(stdout);
    top->look = (struct weir_top_look){.columns = terminal.columns,
                                       .live = live,
                                       .colour = terminal.colour && !top->options.no_colour,
                                       .unicode = !top->options.ascii && strcmp(nl_langinfo(CODESET), "UTF-8") == 0};
}

static int run(struct top *top) {
    const char *term = getenv("TERM");
    bool terminals = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1;
    bool live = !top->options.once && terminals && term != NULL && strcmp(term, "dumb") != 0;
    struct weir_error err = {0};
    set_look(top, live);
    if (!live) return show_once(top);
    if (weir_screen_open(&err) != WEIR_OK) {
        fprintf(stderr, "weir top: %s\n", err.text);
        return 1;
    }
    watch(top);
    weir_screen_close();
    return 0;
}

int weir_top_main(int argc, char **argv) {
    struct top top = {0};
    struct weir_error err = {0};
    bool help;
    if (weir_top_options_parse(argc, argv, &top.options, &help, &err) != WEIR_OK) {
        fprintf(stderr, "weir top: %s\n\n%s", err.text, weir_top_usage);
        return 2;
    }
    if (help) {
        fputs(weir_top_usage, stdout);
        return 0;
    }
    setlocale(LC_CTYPE, "");
    tzset();
    signal(SIGPIPE, SIG_IGN);
    top.state = top.options.state;
    top.names = weir_names_new(WEIR_TOP_NAMES, WEIR_TOP_NAMES_BYTES);
    top.fetch = top.names == NULL ? NULL : weir_top_fetch_new(&top.options.ask, top.names);
    int status = 1;
    if (top.fetch != NULL) {
        choose_service(&top);
        status = run(&top);
    } else {
        fputs("weir top: out of memory\n", stderr);
    }
    forget_pages(&top, top.page_count);
    weir_top_rows_free(&top.services);
    weir_top_rows_free(&top.rows);
    weir_policy_view_free(&top.policy);
    weir_top_fetch_free(top.fetch);
    weir_names_free(top.names);
    return status;
}
