#define _GNU_SOURCE /* pipe2 */
#include "collector/cli/top/screen.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

/* 1049: the other screen, and the cursor's place is kept; 25: the cursor is hidden; 7: no wrap at the right margin. */
static const char enter[] = "\033[?1049h\033[?25l\033[?7l\033[H\033[2J";
static const char leave[] = "\033[0m\033[?7h\033[?25h\033[?1049l";

/* Signal handlers read them; written before the handlers are set. */
static struct termios before;
static volatile sig_atomic_t taken, ends;
static int wake[2] = {-1, -1}; /* a handler writes the signal's number */

static const int ordinary[] = {SIGINT, SIGTERM, SIGHUP, SIGWINCH, SIGTSTP, SIGCONT};
static const int fatal[] = {SIGQUIT, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGSYS};

/* Only what a signal handler may call (signal-safety(7)). */
static void give_back(void) {
    if (!taken) return;
    taken = 0;
    ssize_t wrote = write(STDOUT_FILENO, leave, sizeof leave - 1);
    (void)wrote;
    tcsetattr(STDIN_FILENO, TCSANOW, &before);
}

static void on_ordinary(int number) {
    int kept = errno;
    uint8_t byte = (uint8_t)number;
    if (number == SIGINT || number == SIGTERM || number == SIGHUP) ends = 1;
    ssize_t wrote = write(wake[1], &byte, 1); /* a full pipe wakes too */
    (void)wrote;
    errno = kept;
}

/* The handler is gone when it runs (SA_RESETHAND): the signal then does what it does. */
static void on_fatal(int number) {
    give_back();
    raise(number);
}

static void set_handlers(void) {
    struct sigaction action = {.sa_handler = on_ordinary}; /* no SA_RESTART: a write that waits is woken */
    for (size_t i = 0; i < sizeof ordinary / sizeof *ordinary; i++)
        sigaction(ordinary[i], &action, NULL);
    action = (struct sigaction){.sa_handler = on_fatal, .sa_flags = (int)(SA_RESETHAND | SA_NODEFER)};
    for (size_t i = 0; i < sizeof fatal / sizeof *fatal; i++)
        sigaction(fatal[i], &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static bool write_all(const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    while (size > 0) {
        ssize_t wrote = write(STDOUT_FILENO, at, size);
        if (wrote < 0 && errno == EINTR && !ends) continue;
        if (wrote < 0) return false;
        at += wrote;
        size -= (size_t)wrote;
    }
    return true;
}

/* Keys come one by one and are not shown; Ctrl-C and Ctrl-Z are signals as ever; Ctrl-S does not stop the output. */
static bool take(void) {
    struct termios raw = before;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    raw.c_iflag &= ~(tcflag_t)(IXON | ICRNL);
    raw.c_cc[VMIN] = 1;
    raw.c_cc[VTIME] = 0;
    if (tcsetattr(STDIN_FILENO, TCSANOW, &raw) != 0) return false;
    taken = 1;
    return write_all(enter, sizeof enter - 1);
}

enum weir_status weir_screen_open(struct weir_error *err) {
    if (tcgetattr(STDIN_FILENO, &before) != 0 || pipe2(wake, O_CLOEXEC | O_NONBLOCK) != 0)
        return weir_fail(err, WEIR_IO, errno, false, "the terminal: %s", strerror(errno));
    set_handlers();
    if (take()) return WEIR_OK;
    weir_fail(err, WEIR_IO, errno, false, "the terminal: %s", strerror(errno));
    weir_screen_close();
    return WEIR_IO;
}

int weir_screen_signals(void) {
    return wake[0];
}

void weir_screen_size(uint32_t *columns, uint32_t *lines) {
    struct winsize size;
    bool known = ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0;
    *columns = known ? size.ws_col : 80;
    *lines = known ? size.ws_row : 24;
}

static void stop(void) {
    give_back();
    raise(SIGSTOP); /* goes on here when the shell continues it */
    tcgetattr(STDIN_FILENO, &before);
    take();
}

bool weir_screen_attend(void) {
    uint8_t signals[64];
    bool changed = false, stops = false;
    for (ssize_t got; (got = read(wake[0], signals, sizeof signals)) > 0;) {
        for (ssize_t i = 0; i < got; i++)
            stops = stops || signals[i] == SIGTSTP;
        changed = true;
    }
    if (stops && !ends) stop();
    return changed;
}

bool weir_screen_ends(void) {
    return ends != 0;
}

/* Each line is cleared behind what is written, not before: so nothing flickers. */
bool weir_screen_show(const struct weir_buffer *lines) {
    struct weir_buffer out = {0};
    weir_buffer_text(&out, "\033[H");
    for (size_t at = 0; at < lines->size;) {
        const uint8_t *stop_at = memchr(lines->bytes + at, '\n', lines->size - at);
        size_t end = stop_at == NULL ? lines->size : (size_t)(stop_at - lines->bytes);
        if (at > 0) weir_buffer_text(&out, "\r\n");
        weir_buffer_put(&out, lines->bytes + at, end - at);
        weir_buffer_text(&out, "\033[K");
        at = end + 1;
    }
    weir_buffer_text(&out, "\033[J");
    bool ok = !out.failed && write_all(out.bytes, out.size);
    weir_buffer_free(&out);
    return ok;
}

void weir_screen_close(void) {
    give_back();
    for (int i = 0; i < 2; i++) {
        if (wake[i] >= 0) close(wake[i]);
        wake[i] = -1;
    }
}
