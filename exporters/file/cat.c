#define _GNU_SOURCE /* versionsort */
#include "exporters/file/cat.h"
#include "collector/core/buffer.h"
#include "exporters/file/format.h"
#include "exporters/file/otlp_json.h"
#include "exporters/file/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { FLUSH_BYTES = 64 * 1024 };

static const char usage[] =
    "usage: weir cat PATH...\n"
    "\n"
    "Prints the spans of trace files, written by the file exporter, as JSON lines: one span a line, with the field\n"
    "names of OTLP/JSON (ids in hex, 64-bit integers as strings, enums as integers) and the member `service`.\n"
    "A PATH is a file, or a folder whose " WEIR_FILE_PREFIX "*" WEIR_FILE_SUFFIX " are read in order of time.\n"
    "Parts that are broken are named on stderr with file and offset; the rest is printed, and the exit status is 1.\n"
    "\n"
    "  weir cat ./traces | jq -r 'select(.status.code == 2) | [.service, .name, .traceId] | @tsv'\n";

struct cat {
    const char *path;
    int fd;
    struct weir_buffer out;
    bool failed; /* something was broken */
    bool gone;   /* nobody reads stdout any more */
};

static void complain(struct cat *cat, const char *why) {
    fprintf(stderr, "weir cat: %s: %s\n", cat->path, why);
    cat->failed = true;
}

static void flush(struct cat *cat) {
    const uint8_t *at = cat->out.bytes;
    size_t left = cat->out.size;
    while (left > 0 && !cat->gone) {
        ssize_t wrote = write(STDOUT_FILENO, at, left);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) {
            if (errno != EPIPE) {
                fprintf(stderr, "weir cat: stdout: %s\n", strerror(errno));
                cat->failed = true;
            }
            cat->gone = true;
            break;
        }
        at += wrote;
        left -= (size_t)wrote;
    }
    weir_buffer_clear(&cat->out);
}

static ssize_t read_file(void *self, void *bytes, size_t size) {
    return read(((struct cat *)self)->fd, bytes, size);
}

static void on_broken(void *self, uint64_t offset, const char *why) {
    char text[320];
    snprintf(text, sizeof text, "offset %llu: %s", (unsigned long long)offset, why);
    complain(self, text);
}

static int on_request(void *self, const uint8_t *bytes, size_t size, uint64_t offset) {
    struct cat *cat = self;
    struct weir_otlp_json_counts counts = {0};
    struct weir_error err;
    if (weir_otlp_json_lines(bytes, size, &cat->out, &counts, &err) != WEIR_OK) {
        on_broken(cat, offset, err.text);
        if (counts.broken > 1)
            fprintf(stderr, "weir cat: %s: offset %llu: %llu spans in all\n", cat->path, (unsigned long long)offset,
                    (unsigned long long)counts.broken);
    }
    if (cat->out.size >= FLUSH_BYTES) flush(cat);
    return cat->gone;
}

static void cat_file(struct cat *cat, const char *path) {
    cat->path = path;
    cat->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (cat->fd < 0) {
        complain(cat, strerror(errno));
        return;
    }
    struct weir_reader reader = {.self = cat, .read = read_file, .request = on_request, .broken = on_broken};
    weir_reader_run(&reader);
    flush(cat);
    close(cat->fd);
}

static int is_trace_file(const struct dirent *entry) {
    size_t size = strlen(entry->d_name), suffix = strlen(WEIR_FILE_SUFFIX);
    return size > suffix && strcmp(entry->d_name + size - suffix, WEIR_FILE_SUFFIX) == 0;
}

static void cat_folder(struct cat *cat, const char *folder) {
    struct dirent **entries = NULL;
    cat->path = folder;
    int count = scandir(folder, &entries, is_trace_file, versionsort); /* ...-9 before ...-10 */
    if (count < 0) complain(cat, strerror(errno));
    if (count == 0)
        fprintf(stderr, "weir cat: %s: no %s*%s in this folder\n", folder, WEIR_FILE_PREFIX, WEIR_FILE_SUFFIX);
    for (int i = 0; i < count; i++) {
        char path[PATH_MAX];
        int size = snprintf(path, sizeof path, "%s%s%s", folder, folder[strlen(folder) - 1] == '/' ? "" : "/",
                            entries[i]->d_name);
        if (size >= (int)sizeof path) {
            complain(cat, strerror(ENAMETOOLONG));
        } else if (!cat->gone) {
            cat_file(cat, path);
        }
        cat->path = folder;
        free(entries[i]);
    }
    free((void *)entries);
}

int weir_cat_main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        fputs(usage, stdout);
        return 0;
    }
    int first = argc > 1 && strcmp(argv[1], "--") == 0 ? 2 : 1;
    if (argc <= first || (first == 1 && argv[1][0] == '-')) {
        fputs(usage, stderr);
        return 2;
    }
    signal(SIGPIPE, SIG_IGN); /* `weir cat | head` ends by EPIPE, quietly */
    struct cat cat = {.fd = -1};
    for (int i = first; i < argc && !cat.gone; i++) {
        struct stat info;
        if (argv[i][0] != 0 && stat(argv[i], &info) == 0 && S_ISDIR(info.st_mode)) {
            cat_folder(&cat, argv[i]);
        } else {
            cat_file(&cat, argv[i]);
        }
    }
    weir_buffer_free(&cat.out);
    return cat.failed ? 1 : 0;
}
