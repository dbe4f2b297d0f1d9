#include "collector/cli/tail/lines.h"
#include "collector/cli/tail/options.h"
#include "collector/cli/tail/tail.h"
#include "collector/cli/text.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

enum {
    LINE_BYTES_MAX = 8 * 1024 * 1024, /* a collector's lines have 512 KiB at most */
    COLUMNS_ELSE = 80,
    SILENCE_SECONDS = 30, /* a collector says every five that it lives */
    CONNECT_MS = 5000,
    TOKEN_BYTES_MAX = 4096,
};

struct tail {
    struct weir_tail_options options;
    struct weir_tree_look look;
    bool terminal; /* stdout is one */
    bool columns_given;
    struct weir_buffer line; /* what came of a line whose end did not */
    struct weir_buffer out;
    struct weir_tail_line read;
    uint64_t shown, lost;
    uint64_t line_number;
    bool greeted, deciding, drew;
    bool over;   /* enough was shown, or nobody reads */
    bool failed; /* and it was said why */
    CURL *easy;
    const char *source; /* for messages */
    char error[CURL_ERROR_SIZE];
    struct weir_buffer refusal; /* the body of an answer that is no stream */
};

static volatile sig_atomic_t interrupted;
static void interrupt(int number) {
    (void)number;
    interrupted = 1;
}

static void complain(struct tail *tail, const char *why) {
    fprintf(stderr, "weir tail: %s: ", tail->source);
    struct weir_buffer clean = {0}; /* it may be a collector's text, or something else's on that port */
    weir_text_put(&clean, why, 400, tail->look.unicode);
    weir_buffer_byte(&clean, 0);
    if (!clean.failed) fprintf(stderr, "%s\n", (const char *)clean.bytes);
    weir_buffer_free(&clean);
    tail->failed = true;
}

/* ---- the screen ---- */

static void set_columns(struct tail *tail) {
    struct winsize size;
    if (tail->columns_given) return;
    tail->look.columns = COLUMNS_ELSE;
    /* Asked for each trace: windows are made wider while traces come. */
    if (tail->terminal && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        tail->look.columns = size.ws_col;
}

/* no-color.org: NO_COLOR, present and not empty, whatever its value. */
static void set_look(struct tail *tail) {
    const char *columns = getenv("COLUMNS"), *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
    setlocale(LC_CTYPE, "");
    tail->terminal = isatty(STDOUT_FILENO) == 1;
    tail->look.unicode = !tail->options.ascii && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
    tail->look.colour = tail->terminal && !tail->options.no_colour && (no_colour == NULL || *no_colour == 0) &&
                        (terminal == NULL || strcmp(terminal, "dumb") != 0);
    uint64_t spans = tail->options.spans;
    tail->look.spans_max = spans > UINT32_MAX ? UINT32_MAX : (uint32_t)spans;
    unsigned long width = columns == NULL ? 0 : strtoul(columns, NULL, 10);
    tail->columns_given = width > 0 && width < 10000;
    tail->look.columns = tail->columns_given ? (uint32_t)width : COLUMNS_ELSE;
}

/* All of it, or nobody reads any more. */
static void flush(struct tail *tail) {
    const uint8_t *at = tail->out.bytes;
    size_t left = tail->out.size;
    while (left > 0 && !tail->over) {
        ssize_t wrote = write(STDOUT_FILENO, at, left);
        if (wrote < 0 && errno == EINTR) {
            if (interrupted) break;
            continue;
        }
        if (wrote < 0) {
            if (errno != EPIPE) {
                tail->source = "stdout";
                complain(tail, strerror(errno));
            }
            tail->over = true;
            break;
        }
        at += wrote;
        left -= (size_t)wrote;
    }
    weir_buffer_clear(&tail->out);
}

static void count_shown(struct tail *tail) {
    tail->shown++;
    if (tail->options.limit != 0 && tail->shown >= tail->options.limit) tail->over = true;
}

static void draw(struct tail *tail) {
    set_columns(tail);
    if (tail->drew) weir_buffer_byte(&tail->out, '\n');
    tail->drew = true;
    weir_tree_draw(&tail->read.trace, &tail->look, &tail->out);
    if (tail->out.failed) {
        complain(tail, "out of memory");
        tail->over = true;
        return;
    }
    flush(tail);
    count_shown(tail);
}

/* ---- lines ---- */

static void greet(struct tail *tail) {
    const struct weir_tail_line *line = &tail->read;
    bool first = !tail->greeted, before = tail->deciding;
    tail->greeted = true;
    tail->deciding = line->deciding;
    if (!first && before == line->deciding) return;
    if (!line->deciding) {
        fprintf(stderr, "weir tail: %s: the sampling policy has no keep:%s\n", tail->source,
                first ? ", so no trace is decided; waiting for one that has" : " any more");
    } else if (!first) {
        fprintf(stderr, "weir tail: %s: the sampling policy has a keep: now\n", tail->source);
    } else if (tail->terminal && isatty(STDERR_FILENO) == 1 && tail->options.read == NULL) {
        fprintf(stderr, "weir tail: watching %s, Ctrl-C ends it\n", tail->source);
    }
}

static void on_line(struct tail *tail, const uint8_t *bytes, size_t size) {
    struct weir_error err = {0};
    tail->line_number++;
    if (size == 0) return;
    if (weir_tail_line_read(&tail->read, bytes, size, &err) != WEIR_OK) {
        char why[sizeof err.text + 40];
        snprintf(why, sizeof why, "line %llu: %s", (unsigned long long)tail->line_number, err.text);
        complain(tail, why);
        return;
    }
    switch (tail->read.kind) {
    case WEIR_TAIL_TRACE:
        if (!tail->options.json) draw(tail);
        break;
    case WEIR_TAIL_LOST:
        tail->lost += tail->read.lost;
        fprintf(stderr, "weir tail: %s: %llu not shown: they came faster than they could be read (filters help)\n",
                tail->source, (unsigned long long)tail->read.lost);
        break;
    case WEIR_TAIL_HELLO:
    case WEIR_TAIL_PULSE: greet(tail); break;
    case WEIR_TAIL_OTHER: break;
    }
    if (!tail->options.json) return;
    weir_buffer_put(&tail->out, bytes, size);
    weir_buffer_byte(&tail->out, '\n');
    flush(tail);
    if (tail->read.kind == WEIR_TAIL_TRACE) count_shown(tail);
}

/* Some more of the stream, cut anywhere. */
static void on_bytes(struct tail *tail, const uint8_t *bytes, size_t size) {
    tail->line.limit = LINE_BYTES_MAX;
    while (size > 0 && !tail->over) {
        const uint8_t *end = memchr(bytes, '\n', size);
        size_t part = end == NULL ? size : (size_t)(end - bytes);
        if (end != NULL && tail->line.size == 0) {
            on_line(tail, bytes, part);
        } else {
            weir_buffer_put(&tail->line, bytes, part);
            if (tail->line.failed) {
                complain(tail, "a line is longer than 8 MiB: this is no stream of a collector");
                tail->over = true;
                return;
            }
            if (end != NULL) {
                on_line(tail, tail->line.bytes, tail->line.size);
                weir_buffer_clear(&tail->line);
            }
        }
        if (end == NULL) return;
        bytes += part + 1;
        size -= part + 1;
    }
}

/* ---- a file ---- */

static void read_file(struct tail *tail) {
    const char *path = tail->options.read;
    bool is_stdin = strcmp(path, "-") == 0;
    tail->source = is_stdin ? "stdin" : path;
    int fd = is_stdin ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    uint8_t bytes[16 * 1024];
    while (!tail->over && !interrupted) {
        ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof bytes);
        if (got < 0 && errno == EINTR) continue;
        if (got < 0) complain(tail, strerror(errno));
        if (got <= 0) break;
        on_bytes(tail, bytes, (size_t)got);
    }
    if (!tail->over && !interrupted && tail->line.size > 0) on_line(tail, tail->line.bytes, tail->line.size);
    if (fd >= 0 && !is_stdin) close(fd);
}

/* ---- the collector ---- */

static size_t on_answer(char *bytes, size_t one, size_t size, void *self) {
    struct tail *tail = self;
    long status = 0;
    (void)one;
    curl_easy_getinfo(tail->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status == 200) {
        on_bytes(tail, (const uint8_t *)bytes, size);
    } else if (tail->refusal.size + size <= 1024) {
        weir_buffer_put(&tail->refusal, bytes, size);
    }
    return tail->over || interrupted ? 0 : size; /* 0 ends the transfer */
}

/* Called about once a second also when nothing comes. */
static int on_progress(void *self, curl_off_t total, curl_off_t now, curl_off_t up_total, curl_off_t up_now) {
    (void)self;
    (void)total;
    (void)now;
    (void)up_total;
    (void)up_now;
    return interrupted;
}

/* The first line of the file that is none and no comment, as `admin.bearer_token_file` reads it. */
static bool read_token(struct tail *tail, struct curl_slist **headers) {
    char line[TOKEN_BYTES_MAX], header[TOKEN_BYTES_MAX + 32];
    FILE *file = fopen(tail->options.token_file, "re");
    header[0] = 0;
    while (file != NULL && header[0] == 0 && fgets(line, sizeof line, file) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        if (line[0] != 0 && line[0] != '#') snprintf(header, sizeof header, "Authorization: Bearer %s", line);
    }
    const char *why = file == NULL ? strerror(errno) : header[0] == 0 ? "no token in it" : NULL;
    if (file != NULL) fclose(file);
    if (why != NULL) {
        tail->source = tail->options.token_file;
        complain(tail, why);
        return false;
    }
    *headers = curl_slist_append(*headers, header);
    return *headers != NULL;
}

static void say_how_it_ended(struct tail *tail, CURLcode code) {
    long status = 0;
    curl_easy_getinfo(tail->easy, CURLINFO_RESPONSE_CODE, &status);
    if (tail->over || interrupted) return;
    if (status != 0 && status != 200) {
        char why[1200];
        const char *body = tail->refusal.size > 0 ? (const char *)tail->refusal.bytes : "";
        size_t size = tail->refusal.size;
        while (size > 0 && (body[size - 1] == '\n' || body[size - 1] == '\r'))
            size--;
        snprintf(why, sizeof why, "%ld: %.*s%s", status, (int)size, body,
                 status == 404 ? " (is it a collector's admin port, and not too old?)" : "");
        complain(tail, why);
    } else if (code == CURLE_OK) {
        complain(tail, "the collector ended the stream");
    } else {
        complain(tail, tail->error[0] != 0 ? tail->error : curl_easy_strerror(code));
    }
}

static void watch(struct tail *tail) {
    struct weir_buffer url = {0};
    struct curl_slist *headers = NULL;
    weir_tail_url(&tail->options, &url);
    tail->source = tail->options.admin != NULL ? tail->options.admin : WEIR_TAIL_ADMIN;
    tail->easy = curl_easy_init();
    if (tail->easy == NULL || url.failed) {
        complain(tail, "out of memory");
    } else if (tail->options.token_file == NULL || read_token(tail, &headers)) {
        CURL *easy = tail->easy;
        curl_easy_setopt(easy, CURLOPT_URL, (char *)url.bytes);
        curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
        curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(easy, CURLOPT_USERAGENT, "weir");
        curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
        curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, (long)CONNECT_MS);
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_LIMIT, 1L); /* bytes a second, over so many seconds */
        curl_easy_setopt(easy, CURLOPT_LOW_SPEED_TIME, (long)SILENCE_SECONDS);
        curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_answer);
        curl_easy_setopt(easy, CURLOPT_WRITEDATA, tail);
        curl_easy_setopt(easy, CURLOPT_XFERINFOFUNCTION, on_progress);
        curl_easy_setopt(easy, CURLOPT_NOPROGRESS, 0L);
        curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, tail->error);
        if (tail->options.ca != NULL) curl_easy_setopt(easy, CURLOPT_CAINFO, tail->options.ca);
        say_how_it_ended(tail, curl_easy_perform(easy));
    }
    if (tail->easy != NULL) curl_easy_cleanup(tail->easy);
    curl_slist_free_all(headers);
    weir_buffer_free(&url);
}

int weir_tail_main(int argc, char **argv) {
    struct tail tail = {.source = ""};
    struct weir_error err = {0};
    bool help;
    if (weir_tail_options_parse(argc, argv, &tail.options, &help, &err) != WEIR_OK) {
        fprintf(stderr, "weir tail: %s\n\n%s", err.text, weir_tail_usage);
        return 2;
    }
    if (help) {
        fputs(weir_tail_usage, stdout);
        return 0;
    }
    signal(SIGPIPE, SIG_IGN);                            /* `weir tail | head` ends by EPIPE, quietly */
    struct sigaction action = {.sa_handler = interrupt}; /* without SA_RESTART: what waits is woken */
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    tzset();
    set_look(&tail);
    if (tail.options.read != NULL) {
        read_file(&tail);
    } else {
        watch(&tail);
    }
    if (tail.terminal && isatty(STDERR_FILENO) == 1 && tail.shown > 0)
        fprintf(stderr, "%sweir tail: %llu shown, %llu lost\n", interrupted ? "\n" : "", (unsigned long long)tail.shown,
                (unsigned long long)tail.lost);
    weir_tail_line_free(&tail.read);
    weir_buffer_free(&tail.line);
    weir_buffer_free(&tail.out);
    weir_buffer_free(&tail.refusal);
    return tail.failed ? 1 : 0;
}
