/* The log: what was appended comes back, in order and whole, whatever was done to the files meanwhile; what nothing
 * pins goes; a full or failing disk is a status, and the log heals. */
#include "collector/spool/log.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <xxhash.h>

#include <cmocka.h>

enum { MiB = 1 << 20, SEEN_MAX = 4096 };

struct fixture {
    char folder[64], directory[80];
    struct weir_log_options options;
    struct weir_log *log;
    /* what the last replay said */
    struct seen {
        uint64_t segment, offset;
        uint32_t type;
        size_t size;
        char text[40]; /* the beginning */
    } seen[SEEN_MAX];
    size_t seen_count, seen_bytes;
    struct {
        char file[32], why[64];
        uint64_t offset;
    } broken[16];
    size_t broken_count;
    int stop_at; /* record() answers 1 at this one; 0 = never */
};

static void open_log(struct fixture *f) {
    struct weir_error err = {0};
    if (weir_log_open(&f->log, &f->options, &err) != WEIR_OK) fail_msg("%s", err.text);
}
static void close_log(struct fixture *f) {
    weir_log_close(f->log);
    f->log = NULL;
}

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/weir-test-log-XXXXXX");
    if (mkdtemp(f->folder) == NULL) return -1;
    snprintf(f->directory, sizeof f->directory, "%s/a/b", f->folder);
    f->options = (struct weir_log_options){.directory = f->directory, .segment_bytes = MiB, .max_bytes = 64 * MiB};
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    weir_log_close(f->log);
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    int failed = system(command);
    free(f);
    return failed;
}

static uint64_t put_bytes(struct fixture *f, uint32_t type, const void *bytes, size_t size) {
    struct weir_error err = {0};
    uint64_t segment = 0;
    if (weir_log_append(f->log, type, bytes, size, &segment, &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_true(segment > 0);
    return segment;
}
static uint64_t put(struct fixture *f, const char *text) {
    return put_bytes(f, 7, text, strlen(text));
}
/* `size` bytes that begin with the text. */
static uint64_t put_long(struct fixture *f, const char *text, size_t size) {
    char *bytes = malloc(size);
    for (size_t i = 0; i < size; i++)
        bytes[i] = (char)(i * 2654435761u >> 13);
    snprintf(bytes, size, "%s", text);
    uint64_t segment = put_bytes(f, 8, bytes, size);
    free(bytes);
    return segment;
}

static int record(void *self, const struct weir_log_record *one) {
    struct fixture *f = self;
    assert_true(f->seen_count < SEEN_MAX);
    struct seen *seen = &f->seen[f->seen_count++];
    *seen = (struct seen){one->segment, one->offset, one->type, one->size, ""};
    size_t size = one->size < sizeof seen->text - 1 ? one->size : sizeof seen->text - 1;
    if (size > 0) memcpy(seen->text, one->bytes, size);
    f->seen_bytes += one->size;
    return f->stop_at != 0 && f->seen_count == (size_t)f->stop_at;
}
static void broken(void *self, const char *file, uint64_t offset, const char *why) {
    struct fixture *f = self;
    assert_true(f->broken_count < 16);
    snprintf(f->broken[f->broken_count].file, 32, "%s", file);
    snprintf(f->broken[f->broken_count].why, 64, "%s", why);
    f->broken[f->broken_count++].offset = offset;
}
static struct weir_log_stats replay(struct fixture *f) {
    struct weir_error err = {0};
    struct weir_log_stats stats;
    f->seen_count = f->seen_bytes = f->broken_count = 0;
    enum weir_status status = weir_log_replay(f->log, record, broken, f, &err);
    assert_int_equal(status, f->stop_at != 0 ? WEIR_CLOSED : WEIR_OK);
    weir_log_stats(f->log, &stats);
    assert_int_equal(stats.records_bad, f->broken_count);
    return stats;
}
/* As after a kill: nothing is flushed or said good-bye to; then replay. */
static struct weir_log_stats reopen(struct fixture *f) {
    close_log(f);
    open_log(f);
    return replay(f);
}

/* Space-separated texts of what replay handed out. */
static void assert_seen(struct fixture *f, const char *want) {
    char got[1024] = "";
    for (size_t i = 0; i < f->seen_count; i++)
        snprintf(got + strlen(got), sizeof got - strlen(got), "%s%s", i == 0 ? "" : " ", f->seen[i].text);
    assert_string_equal(got, want);
}

static void path_of(struct fixture *f, uint64_t number, char path[128]) {
    snprintf(path, 128, "%s/%08llu.log", f->directory, (unsigned long long)number);
}
static off_t size_of(struct fixture *f, uint64_t number) {
    char path[128];
    struct stat info;
    path_of(f, number, path);
    return stat(path, &info) == 0 ? info.st_size : -1;
}
static void flip(struct fixture *f, uint64_t number, off_t offset) {
    char path[128];
    uint8_t byte;
    path_of(f, number, path);
    int fd = open(path, O_RDWR);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    byte ^= 0x10;
    assert_int_equal(pwrite(fd, &byte, 1, offset), 1);
    close(fd);
}

/* ---- what comes back ---- */

static void everything_in_order(void **state) {
    struct fixture *f = *state;
    open_log(f);
    assert_int_equal(weir_log_found(f->log), 0);
    assert_int_equal(put(f, "one"), 1);
    put_bytes(f, 9, "", 0);
    put_long(f, "three", 700000); /* wider than the window */
    assert_int_equal(put_long(f, "four", 700000), 2);
    put(f, "five");
    struct weir_log_stats stats = reopen(f);
    assert_int_equal(f->seen_count, 5);
    assert_seen(f, "one  three four five");
    assert_int_equal(f->seen[1].type, 9);
    assert_int_equal(f->seen[1].size, 0);
    assert_int_equal(f->seen[2].size, 700000);
    assert_int_equal(f->seen[3].segment, 2);
    assert_int_equal(f->seen[0].offset, WEIR_LOG_HEADER_BYTES);
    assert_int_equal(stats.segments, 2);
    assert_int_equal(stats.bytes, size_of(f, 1) + size_of(f, 2));
    assert_int_equal(stats.bytes_bad, 0);
    assert_int_equal(weir_log_found(f->log), 2);
    replay(f); /* as often as one likes */
    assert_int_equal(f->seen_count, 5);
    f->stop_at = 2;
    replay(f);
    assert_int_equal(f->seen_count, 2);
}

static void many_records_and_starts(void **state) {
    struct fixture *f = *state;
    char text[32];
    for (int start = 0; start < 5; start++) {
        open_log(f);
        for (int i = 0; i < 500; i++) {
            snprintf(text, sizeof text, "%d/%d", start, i);
            if (i % 50 == 0) {
                put_long(f, text, 60000 + (size_t)i);
            } else {
                put(f, text);
            }
        }
        close_log(f);
    }
    open_log(f);
    replay(f);
    assert_int_equal(f->seen_count, 2500);
    for (int i = 0; i < 2500; i++) {
        snprintf(text, sizeof text, "%d/%d", i / 500, i % 500);
        assert_string_equal(f->seen[i].text, text);
    }
}

static void a_record_may_be_larger_than_a_segment(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    open_log(f);
    put(f, "small");
    assert_int_equal(put_long(f, "large", 3 * MiB), 2);
    assert_int_equal(put(f, "next"), 3);
    put_long(f, "largest", WEIR_LOG_RECORD_MAX);
    char *bytes = calloc(1, WEIR_LOG_RECORD_MAX + 1);
    assert_int_equal(weir_log_append(f->log, 1, bytes, WEIR_LOG_RECORD_MAX + 1, NULL, &err), WEIR_INVALID);
    assert_non_null(strstr(err.text, "larger than 16 MiB"));
    free(bytes);
    reopen(f);
    assert_seen(f, "small large next largest");
    assert_int_equal(f->seen_bytes, 5 + 3 * MiB + 4 + WEIR_LOG_RECORD_MAX);
}

static void numbers_go_on_after_a_restart(void **state) {
    struct fixture *f = *state;
    open_log(f);
    assert_int_equal(put(f, "one"), 1);
    close_log(f);
    open_log(f);
    assert_int_equal(put(f, "two"), 2); /* never behind what another start wrote: its end may be torn */
    weir_log_unpin(f->log, 2);
    weir_log_let_go(f->log);
    weir_log_clear(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), -1);
    assert_int_equal(size_of(f, 3), WEIR_LOG_HEADER_BYTES); /* all is gone but the number */
    struct weir_log_stats stats = reopen(f);
    assert_int_equal(f->seen_count, 0);
    assert_int_equal(stats.segments, 1);
    weir_log_let_go(f->log);
    weir_log_trim(f->log);
    assert_int_equal(size_of(f, 3), -1);
    assert_int_equal(put(f, "four"), 4);
}

/* ---- damage: one row each; the records are a (30 bytes), b (2000), c (30) in one segment ---- */

enum {
    A = WEIR_LOG_HEADER_BYTES,
    B = A + WEIR_LOG_HEAD_BYTES + 30,
    C = B + WEIR_LOG_HEAD_BYTES + 2000,
    END = C + WEIR_LOG_HEAD_BYTES + 30
};

static const struct damage {
    const char *name;
    int flip;    /* a byte of this offset; 0 = none, for the header's first byte -1 */
    int cut;     /* the file to this size; 0 = not */
    int zero_at; /* zeros from here to the end (of a file as long as it was); 0 = not */
    const char *want, *why;
    int bad_at;
} damages[] = {
    {"nothing", 0, 0, 0, "a b c", NULL, 0},
    {"mark of the first", A, 0, 0, "b c", "damaged head", A},
    {"type", B + 4, 0, 0, "a c", "damaged head", B},
    {"size, low byte", B + 8, 0, 0, "a c", "damaged head", B},
    {"size, high byte", B + 11, 0, 0, "a c", "damaged head", B},
    {"check of the head", B + 12, 0, 0, "a c", "damaged head", B},
    {"checksum", B + 16, 0, 0, "a c", "checksum", B},
    {"payload, first byte", B + 24, 0, 0, "a c", "checksum", B},
    {"payload, last byte", C - 1, 0, 0, "a c", "checksum", B},
    {"payload of the last", END - 1, 0, 0, "a b", "checksum", C},
    {"header's magic", -1, 0, 0, "a b c", "damaged header", 0},
    {"header's version", 8, 0, 0, "a b c", "damaged header", 0},
    {"header's sum", 24, 0, 0, "a b c", "damaged header", 0},
    {"torn payload", 0, END - 1, 0, "a b", "torn record", C},
    {"torn behind the head", 0, C + WEIR_LOG_HEAD_BYTES, 0, "a b", "torn record", C},
    {"torn head", 0, C + 5, 0, "a b", "torn or damaged end", C},
    {"torn in the middle record", 0, B + 1000, 0, "a", "torn record", B},
    {"cut between records", 0, C, 0, "a b", NULL, 0},
    {"torn header", 0, 7, 0, "", "damaged header", 0},
    {"empty file", 0, -1, 0, "", "damaged header", 0},
    {"zeros for the last", 0, 0, C, "a b", "zeros", C},
    {"zeros from within the last", 0, 0, C + 30, "a b", "checksum", C},
    {"zeros from within a head", 0, 0, B + 6, "a", "damaged end", B},
    {"zeros all over", 0, 0, 1, "", "damaged header", 0},
};

static void damage(void **state) {
    struct fixture *f = *state;
    char path[128];
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        const struct damage *one = &damages[i];
        snprintf(f->directory, sizeof f->directory, "%s/%zu", f->folder, i);
        open_log(f);
        put_long(f, "a", 30);
        put_long(f, "b", 2000);
        put_long(f, "c", 30);
        close_log(f);
        open_log(f);
        put(f, "behind"); /* in the next segment: whatever happens to the first, it comes */
        path_of(f, 1, path);
        assert_int_equal(size_of(f, 1), END);
        if (one->flip != 0) flip(f, 1, one->flip < 0 ? 0 : one->flip);
        if (one->cut != 0) assert_int_equal(truncate(path, one->cut < 0 ? 0 : one->cut), 0);
        if (one->zero_at != 0) {
            assert_int_equal(truncate(path, one->zero_at), 0);
            assert_int_equal(truncate(path, END), 0);
        }
        struct weir_log_stats stats = reopen(f);
        char want[64];
        snprintf(want, sizeof want, "%s%sbehind", one->want, one->want[0] == 0 ? "" : " ");
        if (one->why == NULL) {
            if (f->broken_count != 0) fail_msg("%s: %s at %d", one->name, f->broken[0].why, (int)f->broken[0].offset);
            assert_int_equal(stats.bytes_bad, 0);
        } else {
            if (f->broken_count == 0 || strstr(f->broken[0].why, one->why) == NULL) {
                fail_msg("%s: %zu broken, \"%s\"", one->name, f->broken_count, f->broken[0].why);
            }
            assert_string_equal(f->broken[0].file, "00000001.log");
            if ((int)f->broken[0].offset != one->bad_at) {
                fail_msg("%s: at %d", one->name, (int)f->broken[0].offset);
            }
            assert_true(stats.bytes_bad > 0 || size_of(f, 1) == 0);
        }
        assert_seen(f, want);
        close_log(f);
    }
}

/* Every byte of a segment flipped in turn costs one record at most. */
static void every_single_flip(void **state) {
    struct fixture *f = *state;
    open_log(f);
    put_long(f, "a", 30);
    put_long(f, "b", 50);
    put_long(f, "c", 30);
    close_log(f);
    off_t end = size_of(f, 1);
    assert_int_equal(end, 32 + 3 * 24 + 110);
    for (off_t at = 0; at < end; at++) {
        flip(f, 1, at);
        open_log(f);
        replay(f);
        assert_int_equal(f->seen_count, at < 32 ? 3 : 2);
        assert_int_equal(f->broken_count, 1);
        close_log(f);
        flip(f, 1, at);
    }
    for (off_t at = end; at > 0; at--) { /* and torn at every byte: what is whole before it comes */
        char path[128];
        path_of(f, 1, path);
        assert_int_equal(truncate(path, at), 0);
        open_log(f);
        replay(f);
        assert_int_equal(f->seen_count, at == end ? 3 : at >= 32 + 48 + 80 ? 2 : at >= 32 + 24 + 30 ? 1 : 0);
        close_log(f);
    }
}

static void rewrite(struct fixture *f, uint64_t number, off_t offset, const void *bytes, size_t size) {
    char path[128];
    path_of(f, number, path);
    int fd = open(path, O_WRONLY | O_CREAT, 0600);
    assert_int_equal(pwrite(fd, bytes, size, offset), size);
    close(fd);
}

static void another_version_is_left_alone(void **state) {
    struct fixture *f = *state;
    uint8_t header[WEIR_LOG_HEADER_BYTES];
    const uint32_t version = 2;
    open_log(f);
    put(f, "one");
    close_log(f);
    weir_log_write_header(header, 1);
    memcpy(header + 8, &version, 4);
    /* its sum, by the same rule */
    uint8_t other[WEIR_LOG_HEADER_BYTES];
    memcpy(other, header, sizeof other);

    uint64_t sum = XXH3_64bits(other, 24);
    memcpy(header + 24, &sum, 8);
    rewrite(f, 1, 0, header, sizeof header);
    open_log(f);
    put(f, "two");
    reopen(f);
    assert_seen(f, "two");
    assert_string_equal(f->broken[0].why, "format version 2, this reads 1");
    assert_true(size_of(f, 1) > 0);
}

static void a_head_that_asks_too_much(void **state) {
    struct fixture *f = *state;
    uint8_t head[WEIR_LOG_HEAD_BYTES];
    open_log(f);
    put_long(f, "a", 30);
    put_long(f, "b", 2000);
    put_long(f, "c", 30);
    close_log(f);
    /* sound in itself, and 3 GiB long */
    weir_log_write_head(head, 1, B, 7, "", 0);
    const uint32_t size = 3u << 30;
    memcpy(head + 8, &size, 4);

    uint32_t check = (uint32_t)XXH3_64bits_withSeed(head, 12, 1ull << 32 | B);
    memcpy(head + 12, &check, 4);
    rewrite(f, 1, B, head, sizeof head);
    open_log(f);
    replay(f);
    assert_seen(f, "a c");
    assert_string_equal(f->broken[0].why, "record larger than 16 MiB");
}

/* What looks like a record inside a payload is none, even when the record around it is damaged. */
static void records_inside_records(void **state) {
    struct fixture *f = *state;
    uint8_t inner[WEIR_LOG_HEAD_BYTES + 6];
    weir_log_write_head(inner, 1, A, 7, "forged", 6); /* as it would stand at A; it stands elsewhere */
    memcpy(inner + WEIR_LOG_HEAD_BYTES, "forged", 6);
    open_log(f);
    put_bytes(f, 7, inner, sizeof inner);
    put(f, "next");
    close_log(f);
    flip(f, 1, A);
    open_log(f);
    replay(f);
    assert_seen(f, "next");
}

static void a_missing_segment_is_told(void **state) {
    struct fixture *f = *state;
    char path[128];
    for (int i = 0; i < 3; i++) {
        open_log(f);
        put(f, i == 0 ? "one" : i == 1 ? "two" : "three");
        close_log(f);
    }
    path_of(f, 2, path);
    assert_int_equal(unlink(path), 0);
    rewrite(f, 77, 0, "no log", 6); /* and files that are no segments of ours */
    snprintf(path, sizeof path, "%s/1.log", f->directory);
    assert_int_equal(close(open(path, O_CREAT | O_WRONLY, 0600)), 0);
    open_log(f);
    replay(f);
    assert_seen(f, "one three");
    assert_string_equal(f->broken[0].why, "segments before it are missing");
    assert_string_equal(f->broken[0].file, "00000003.log");
    assert_int_equal(put(f, "next"), 78);
}

/* ---- pins, bounds ---- */

static void segments_go_from_the_oldest(void **state) {
    struct fixture *f = *state;
    struct weir_log_stats stats;
    open_log(f);
    for (uint64_t i = 1; i <= 4; i++)
        assert_int_equal(put_long(f, "x", MiB - 100), i);
    weir_log_pin(f->log, 2);
    weir_log_unpin(f->log, 2);
    weir_log_unpin(f->log, 2); /* the second is free, the first is not */
    weir_log_trim(f->log);
    assert_true(size_of(f, 2) > 0);
    weir_log_unpin(f->log, 1);
    weir_log_unpin(f->log, 99); /* none: ignored, as 0 is */
    weir_log_unpin(f->log, 0);
    weir_log_trim(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), -1);
    assert_true(size_of(f, 3) > 0);
    weir_log_unpin(f->log, 3);
    weir_log_unpin(f->log, 4);
    weir_log_trim(f->log); /* what is being written stays */
    assert_true(size_of(f, 4) > 0);
    weir_log_stats(f->log, &stats);
    assert_int_equal(stats.segments, 1);
    assert_int_equal(stats.bytes, size_of(f, 4));
}

static void found_segments_wait_until_let_go(void **state) {
    struct fixture *f = *state;
    open_log(f);
    put(f, "one");
    close_log(f);
    open_log(f);
    weir_log_clear(f->log);
    assert_true(size_of(f, 1) > 0);
    weir_log_pin(f->log, 1);
    weir_log_let_go(f->log);
    weir_log_let_go(f->log); /* once */
    weir_log_clear(f->log);
    assert_true(size_of(f, 1) > 0);
    weir_log_unpin(f->log, 1);
    weir_log_clear(f->log);
    assert_int_equal(size_of(f, 1), -1);
    assert_int_equal(size_of(f, 2), WEIR_LOG_HEADER_BYTES);
}

static void full_is_an_answer(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    struct weir_log_stats stats;
    f->options.max_bytes = 2 * MiB;
    open_log(f);
    put_long(f, "one", MiB - 100);
    put_long(f, "two", MiB - 200);
    char bytes[1000] = "three";
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_FULL);
    assert_non_null(strstr(err.text, "max_bytes is 2097152"));
    weir_log_unpin(f->log, 1);
    assert_int_equal(put_bytes(f, 1, bytes, sizeof bytes), 3); /* made room by itself */
    weir_log_stats(f->log, &stats);
    assert_true(stats.bytes <= f->options.max_bytes);
    reopen(f);
    assert_seen(f, "two three");
    put_long(f, "four", MiB - 100); /* what was found does not count until it is let go */
    put_long(f, "five", MiB - 200);
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_FULL);
    weir_log_unpin(f->log, 5);
    weir_log_let_go(f->log);
    put(f, "six");
    reopen(f);
    assert_seen(f, "four five six");
}

static void options_are_checked(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    f->options.segment_bytes = MiB - 1;
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    f->options.segment_bytes = 33 * MiB;
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    f->options.segment_bytes = MiB;
    f->options.directory = "";
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_INVALID);
    assert_string_equal(err.text, "log: directory is empty");
    f->options.directory = "/proc/no/such";
    assert_int_equal(weir_log_open(&f->log, &f->options, &err), WEIR_IO);
    assert_non_null(strstr(err.text, "/proc/no"));
    assert_null(f->log);
}

static void two_processes_are_refused(void **state) {
    struct fixture *f = *state;
    open_log(f);
    pid_t child = fork();
    if (child == 0) {
        struct weir_log *second = NULL;
        struct weir_error err = {0};
        bool refused = weir_log_open(&second, &f->options, &err) == WEIR_IO && second == NULL &&
                       strstr(err.text, "another process has the directory") != NULL;
        _exit(refused ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    close_log(f);
    open_log(f); /* the lock went with the log */
}

static void private_to_its_owner(void **state) {
    struct fixture *f = *state;
    struct stat info;
    char path[128];
    open_log(f);
    put(f, "one");
    assert_int_equal(stat(f->directory, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0700);
    path_of(f, 1, path);
    assert_int_equal(stat(path, &info), 0);
    assert_int_equal(info.st_mode & 0777, 0600);
}

/* ---- disks that say no ---- */

static struct {
    int writes_left; /* then each fails; -1 = none does */
    size_t part;     /* of the write that fails first this much is written */
    int why;
    int syncs_left;
    unsigned syncs;
} disk;

static ssize_t disk_write(int fd, const void *bytes, size_t size, off_t offset) {
    if (disk.writes_left < 0) return pwrite(fd, bytes, size, offset);
    if (disk.writes_left > 0) {
        disk.writes_left--;
        return pwrite(fd, bytes, size, offset);
    }
    if (disk.part > 0) {
        size_t part = disk.part < size ? disk.part : size;
        disk.part = 0;
        return pwrite(fd, bytes, part, offset);
    }
    errno = disk.why;
    return -1;
}
static int disk_sync(int fd) {
    disk.syncs++;
    if (disk.syncs_left == 0) {
        errno = EIO;
        return -1;
    }
    if (disk.syncs_left > 0) disk.syncs_left--;
    return fdatasync(fd);
}
static const struct weir_log_disk failing = {.write = disk_write, .sync = disk_sync, .sync_names = disk_sync};

static struct {
    const char *file, *aside;
    int pauses, back_after; /* so many pauses; 0 = never */
} away;
static void pause_until_it_is_back(uint64_t ns) {
    assert_int_equal(ns, 500 * 1000000);
    if (++away.pauses != away.back_after) return;
    assert_int_equal(rmdir(away.file), 0);
    assert_int_equal(rename(away.aside, away.file), 0);
}

/* Where the second of three segments was is a directory, which opens and cannot be read, for so many pauses of half a
 * second; a replay has patience for four. */
static void an_error_of_reading_may_pass(void **state) {
    struct fixture *f = *state;
    static const struct weir_log_disk pausing = {.pause = pause_until_it_is_back};
    static const struct {
        int back_after, pauses;
        uint64_t bad;
        const char *seen;
    } rows[] = {{1, 1, 0, "one two three"}, {4, 4, 0, "one two three"}, {0, 4, 1, "one three"}};
    f->options.disk = &pausing;
    f->options.patience_ns = 2000 * 1000000ull;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char file[256], aside[256];
        snprintf(f->directory, sizeof f->directory, "%s/%zu", f->folder, i);
        snprintf(file, sizeof file, "%s/00000002.log", f->directory);
        snprintf(aside, sizeof aside, "%s/aside", f->directory);
        static const char *const texts[] = {"one", "two", "three"};
        for (int n = 0; n < 3; n++) { /* each start has a segment of its own */
            open_log(f);
            put(f, texts[n]);
            if (n < 2) close_log(f);
        }
        close_log(f);
        open_log(f);
        assert_int_equal(rename(file, aside), 0);
        assert_int_equal(mkdir(file, 0700), 0);
        away.file = file;
        away.aside = aside;
        away.pauses = 0;
        away.back_after = rows[i].back_after;
        struct weir_log_stats stats = replay(f);
        assert_seen(f, rows[i].seen);
        assert_int_equal(stats.records_bad, rows[i].bad);
        assert_int_equal(away.pauses, rows[i].pauses);
        close_log(f);
    }
}

/* Fails at every write of three appends in turn, with and without a part of it written, then heals. */
static void no_space_then_heals(void **state) {
    struct fixture *f = *state;
    f->options.disk = &failing;
    for (int fails_at = 0; fails_at <= 6; fails_at++) {
        for (size_t part = 0; part <= 10; part += 5) {
            snprintf(f->directory, sizeof f->directory, "%s/%d-%zu", f->folder, fails_at, part);
            disk.writes_left = fails_at;
            disk.part = part;
            disk.why = part == 5 ? EIO : ENOSPC;
            disk.syncs_left = -1;
            open_log(f);
            char want[64] = "";
            unsigned refused = 0;
            static const char *const texts[] = {"the first record", "the second one", "the third of them"};
            for (int i = 0; i < 3; i++) {
                struct weir_error err = {0};
                enum weir_status status = weir_log_append(f->log, 1, texts[i], strlen(texts[i]), NULL, &err);
                if (status == WEIR_OK) {
                    snprintf(want + strlen(want), sizeof want - strlen(want), "%s ", texts[i]);
                    continue;
                }
                refused++;
                assert_int_equal(status, WEIR_IO);
                assert_int_equal(err.sys, disk.why);
                assert_true(err.retryable);
                assert_non_null(strstr(err.text, part == 5 ? "Input/output error" : "No space left on device"));
            }
            assert_int_equal(refused, fails_at == 0 ? 3 : 3 - (fails_at - 1) / 2);
            disk.writes_left = -1;
            put(f, "healed");
            strcat(want, "healed");
            struct weir_log_stats stats = reopen(f);
            assert_seen(f, want);
            assert_int_equal(stats.records_bad, 0); /* the torn end was cut off */
            close_log(f);
        }
    }
}

/* The same by the kernel's own means. */
static void a_file_too_large_then_heals(void **state) {
    struct fixture *f = *state;
    struct rlimit old, small;
    struct weir_error err = {0};
    open_log(f);
    put_long(f, "one", 40000);
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &old);
    small = (struct rlimit){50000, old.rlim_max};
    setrlimit(RLIMIT_FSIZE, &small);
    char bytes[20000] = "two";
    assert_int_equal(weir_log_append(f->log, 1, bytes, sizeof bytes, NULL, &err), WEIR_IO);
    setrlimit(RLIMIT_FSIZE, &old);
    assert_int_equal(err.sys, EFBIG);
    assert_int_equal(size_of(f, 1), 32 + 24 + 40000);
    put(f, "three");
    assert_int_equal(reopen(f).records_bad, 0);
    assert_seen(f, "one three");
}

static void syncs(void **state) {
    struct fixture *f = *state;
    struct weir_error err = {0};
    f->options.disk = &failing;
    disk.writes_left = disk.syncs_left = -1;
    open_log(f);
    disk.syncs = 0;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 0); /* nothing to sync */
    put(f, "one");
    put(f, "two");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 2); /* the segment and its name */
    put(f, "three");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 3);
    put_long(f, "large", MiB);
    put_long(f, "larger", MiB);
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 6); /* both new segments, and their names */
    put_long(f, "largest", MiB);     /* full ones that are not the newest are not forgotten */
    put(f, "x");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, 9);
    disk.syncs_left = 0;
    uint64_t at = put(f, "four");
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_IO);
    assert_int_equal(err.sys, EIO);
    assert_non_null(strstr(err.text, "Input/output error"));
    disk.syncs_left = -1;
    assert_int_equal(put(f, "five"), at + 1); /* not behind pages that the disk did not take */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    disk.syncs_left = 1;
    put_long(f, "six", MiB); /* the segment is synced, its name is not */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_IO);
    disk.syncs_left = -1;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK); /* the name again */
    reopen(f);
    assert_seen(f, "one two three large larger largest x four five six");
    struct weir_log_stats stats;
    weir_log_stats(f->log, &stats);
    disk.syncs = 0;
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, stats.segments + 1); /* what was found: who wrote it may have died before its sync */
    assert_int_equal(weir_log_sync(f->log, &err), WEIR_OK);
    assert_int_equal(disk.syncs, stats.segments + 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(everything_in_order, setup, teardown),
        cmocka_unit_test_setup_teardown(many_records_and_starts, setup, teardown),
        cmocka_unit_test_setup_teardown(a_record_may_be_larger_than_a_segment, setup, teardown),
        cmocka_unit_test_setup_teardown(numbers_go_on_after_a_restart, setup, teardown),
        cmocka_unit_test_setup_teardown(damage, setup, teardown),
        cmocka_unit_test_setup_teardown(every_single_flip, setup, teardown),
        cmocka_unit_test_setup_teardown(another_version_is_left_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(a_head_that_asks_too_much, setup, teardown),
        cmocka_unit_test_setup_teardown(records_inside_records, setup, teardown),
        cmocka_unit_test_setup_teardown(a_missing_segment_is_told, setup, teardown),
        cmocka_unit_test_setup_teardown(an_error_of_reading_may_pass, setup, teardown),
        cmocka_unit_test_setup_teardown(segments_go_from_the_oldest, setup, teardown),
        cmocka_unit_test_setup_teardown(found_segments_wait_until_let_go, setup, teardown),
        cmocka_unit_test_setup_teardown(full_is_an_answer, setup, teardown),
        cmocka_unit_test_setup_teardown(options_are_checked, setup, teardown),
        cmocka_unit_test_setup_teardown(two_processes_are_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(private_to_its_owner, setup, teardown),
        cmocka_unit_test_setup_teardown(no_space_then_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(a_file_too_large_then_heals, setup, teardown),
        cmocka_unit_test_setup_teardown(syncs, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
