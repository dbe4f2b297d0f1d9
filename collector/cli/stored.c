#define _GNU_SOURCE /* versionsort */
#include "collector/cli/stored.h"
#include "collector/cli/stored_window.h"
#include "collector/core/clock.h"
#include "collector/core/wire.h"
#include "collector/decode/otlp.h"
#include "exporters/file/format.h"
#include "exporters/file/reader.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define TICK_NS    (100 * WEIR_MS)
#define OUTLIER_NS (60 * WEIR_S)
#define GAP_NS     (600 * WEIR_S)
enum { GAP_FRAMES = 3 /* that have to agree that time is another */, SPAN_ATTRIBUTES = 9 };

struct run {
    const struct weir_stored *stored;
    struct weir_stored_counts *counts;
    struct weir_window window;
    struct weir_otlp *otlp;
    struct weir_batch *batch;
    uint64_t *ends; /* of a frame's spans */
    uint32_t ends_capacity;
    uint64_t now_ns, ticked_ns;
    uint32_t elsewhere; /* frames in a row whose time is far from now */
    const char *path;
    int fd;
    uint64_t read_bytes, all_bytes;
    bool failed; /* no memory */
};

static void complain(struct run *run, const char *path, const char *why) {
    if (!run->stored->quiet) fprintf(stderr, "weir %s: %s: %s\n", run->stored->command, path, why);
    run->counts->broken = true;
}

/* ---- one span ---- */

static bool key_is(const struct weir_wire_field *key, const char *name) {
    return key->value == strlen(name) && memcmp(key->bytes, name, key->value) == 0;
}

/* weir.rule and weir.weight, which a Weir that kept the trace wrote on its root. */
static void read_mark(struct weir_stored_trace *trace, const struct weir_batch *batch, const struct weir_span *span) {
    struct weir_wire wire = weir_wire_of(batch->bytes + span->offset, span->size);
    struct weir_wire_field field, key = {0}, any = {0}, inner;
    while (weir_wire_next(&wire, &field)) {
        if (field.number != SPAN_ATTRIBUTES || field.type != WEIR_WIRE_BYTES) continue;
        struct weir_wire pair = weir_wire_of(field.bytes, field.value);
        key = any = (struct weir_wire_field){0};
        while (weir_wire_next(&pair, &inner)) {
            if (inner.type != WEIR_WIRE_BYTES) continue;
            if (inner.number == 1) key = inner;
            if (inner.number == 2) any = inner;
        }
        bool rule = key_is(&key, "weir.rule");
        if (!rule && !key_is(&key, "weir.weight")) continue;
        struct weir_wire value = weir_wire_of(any.bytes, any.value);
        while (weir_wire_next(&value, &inner)) {
            if (rule && inner.number == 1 && inner.type == WEIR_WIRE_BYTES) {
                size_t size = inner.value < sizeof trace->rule ? inner.value : sizeof trace->rule - 1;
                memcpy(trace->rule, inner.bytes, size);
                trace->rule[size] = 0;
                trace->has_mark = true;
            } else if (!rule && inner.number == 4 && inner.type == WEIR_WIRE_FIXED64) {
                trace->mark_weight = weir_wire_double(inner.value);
            }
        }
    }
}

/* As the lane would: what `sources:` declares, what `collector:` leaves out, and the facts that rules see. */
static void add_to_parts(struct run *run, struct weir_stored_trace *trace, struct weir_span *span, uint32_t i) {
    const struct weir_span before = *span;
    for (int p = 0; p < WEIR_STORED_POLICIES; p++) {
        const struct weir_policy *policy = run->stored->policies[p];
        if (policy == NULL) continue;
        if (weir_policy_keeps_all(policy) || weir_policy_keep(policy, span)) {
            const struct weir_keep *keep = weir_policy_keep_part(policy);
            struct weir_stored_part *part = &trace->parts[p];
            if (keep != NULL) {
                weir_trace_add(&part->facts, keep, NULL, run->stored->names, run->batch, i);
            } else {
                part->facts.span_count++;
            }
            bool root = (span->flags & WEIR_SPAN_ROOT) != 0;
            if (part->spans == 0 || (root && !part->has_root)) part->threshold = span->threshold;
            part->has_root = part->has_root || root;
            part->spans++;
            part->bytes += before.size;
        }
        *span = before;
    }
}

static void add_span(struct run *run, uint32_t i) {
    struct weir_span *span = &run->batch->spans[i];
    const struct weir_stored *stored = run->stored;
    run->counts->spans++;
    run->counts->bytes += span->size;
    if (stored->policies[0] != NULL) weir_policy_weigh(stored->policies[0], "", span);
    bool is_new;
    struct weir_stored_trace *trace = weir_window_find(&run->window, span);
    if (trace == NULL && stored->late != NULL && stored->late(stored->self, span)) {
        run->counts->late++;
        return;
    }
    is_new = trace == NULL;
    if (is_new) trace = weir_window_add(&run->window, span, run->now_ns);
    if (trace == NULL) {
        run->failed = true;
        return;
    }
    bool root = (span->flags & WEIR_SPAN_ROOT) != 0;
    if (is_new || (root && !trace->has_root)) {
        trace->service = span->service;
        trace->operation = span->operation;
        trace->prior = span->prior;
        trace->threshold = span->threshold < WEIR_THRESHOLD_MAX ? span->threshold : WEIR_THRESHOLD_MAX - 1;
    }
    if (root) trace->has_root = true;
    if (root) trace->root_ns = span->duration_ns;
    trace->forced = trace->forced || (span->flags & WEIR_SPAN_FORCED) != 0;
    if (trace->trace_hi == 0) trace->trace_hi = span->trace_hi;
    if (span->status == WEIR_STATUS_ERROR && trace->errors++ == 0) {
        trace->error_service = span->service;
        trace->error_operation = span->operation;
    }
    trace->spans++;
    trace->bytes += span->size;
    read_mark(trace, run->batch, span);
    add_to_parts(run, trace, span, i);
    weir_window_touch(&run->window, trace, run->now_ns);
}

/* ---- time ---- */

static void hand_over(void *self, const struct weir_stored_trace *trace) {
    struct run *run = self;
    run->counts->traces++;
    run->stored->decided(run->stored->self, trace, run->now_ns);
}

static void move_on(struct run *run, uint64_t now_ns) {
    const struct weir_stored *stored = run->stored;
    while (run->now_ns < now_ns) {
        uint64_t next = run->ticked_ns + TICK_NS;
        run->now_ns = now_ns < next ? now_ns : next;
        if (run->now_ns < next) break;
        run->ticked_ns = next;
        weir_window_due(&run->window, run->now_ns, stored->wait_ns, stored->quiet_ns);
        if (stored->tick != NULL) stored->tick(stored->self, run->now_ns);
    }
}

static void begin_at(struct run *run, uint64_t now_ns) {
    if (run->now_ns != 0) {
        weir_window_flush(&run->window);
        if (run->stored->gap != NULL) run->stored->gap(run->stored->self, run->now_ns);
    }
    run->now_ns = run->ticked_ns = now_ns;
    run->elsewhere = 0;
}

static int by_value(const void *a, const void *b) {
    const uint64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* The middle of the frame's ends, which outliers cannot move; 0: no span says when. */
static uint64_t middle_of(struct run *run) {
    const struct weir_batch *batch = run->batch;
    uint32_t count = 0;
    if (batch->span_count > run->ends_capacity) {
        uint64_t *grown = realloc(run->ends, batch->span_count * sizeof *grown);
        if (grown == NULL) return run->now_ns;
        run->ends = grown;
        run->ends_capacity = batch->span_count;
    }
    for (uint32_t i = 0; i < batch->span_count; i++) {
        if (batch->spans[i].start_ns != 0) run->ends[count++] = batch->spans[i].start_ns + batch->spans[i].duration_ns;
    }
    if (count == 0) return 0;
    qsort(run->ends, count, sizeof *run->ends, by_value);
    return run->ends[count / 2];
}

static void see_time(struct run *run, uint64_t middle) {
    if (middle == 0) return;
    if (run->now_ns == 0) {
        uint64_t first = run->ends[0];
        begin_at(run, first + OUTLIER_NS > middle ? first : middle);
        return;
    }
    bool far = middle > run->now_ns + GAP_NS || middle + GAP_NS < run->now_ns;
    run->elsewhere = far ? run->elsewhere + 1 : 0;
    if (run->elsewhere == GAP_FRAMES) begin_at(run, middle);
}

static void note_times(struct weir_stored_counts *counts, const struct weir_span *span) {
    if (span->start_ns == 0) return;
    uint64_t end = span->start_ns + span->duration_ns;
    if (counts->first_ns == 0 || span->start_ns < counts->first_ns) counts->first_ns = span->start_ns;
    if (end > counts->last_ns) counts->last_ns = end;
}

/* ---- files ---- */

static ssize_t read_file(void *self, void *bytes, size_t size) {
    struct run *run = self;
    ssize_t got = read(run->fd, bytes, size);
    if (got > 0) run->read_bytes += (uint64_t)got;
    return got;
}

static void on_broken(void *self, uint64_t offset, const char *why) {
    struct run *run = self;
    char text[320];
    snprintf(text, sizeof text, "offset %llu: %s", (unsigned long long)offset, why);
    complain(run, run->path, text);
}

static int on_request(void *self, const uint8_t *bytes, size_t size, uint64_t offset) {
    struct run *run = self;
    struct weir_otlp_counts counts = {0};
    struct weir_error err = {0};
    weir_batch_unref(run->batch);
    run->batch = weir_batch_new(NULL, size);
    if (run->batch == NULL || weir_batch_room(run->batch, size) != WEIR_OK) {
        run->failed = true;
        return 1;
    }
    if (size > 0) memcpy(run->batch->bytes, bytes, size);
    run->batch->size = size;
    if (weir_otlp_decode(run->otlp, run->batch, &counts, &err) != WEIR_OK) {
        on_broken(run, offset, err.text);
        return 0;
    }
    uint64_t middle = middle_of(run);
    see_time(run, middle);
    bool far = run->elsewhere > 0;
    for (uint32_t i = 0; i < run->batch->span_count && !run->failed; i++) {
        const struct weir_span *span = &run->batch->spans[i];
        uint64_t end = span->start_ns + span->duration_ns;
        note_times(run->counts, span);
        if (!far && span->start_ns != 0 && end < middle + OUTLIER_NS) move_on(run, end);
        add_span(run, i);
    }
    if (run->stored->progress != NULL) run->stored->progress(run->stored->self, run->read_bytes, run->all_bytes);
    return run->failed;
}

static void read_one(struct run *run, const char *path) {
    run->fd = open(path, O_RDONLY | O_CLOEXEC);
    if (run->fd < 0) {
        complain(run, path, strerror(errno));
        return;
    }
    run->counts->files++;
    run->path = path;
    struct weir_reader reader = {.self = run, .read = read_file, .request = on_request, .broken = on_broken};
    weir_reader_run(&reader);
    run->path = NULL; /* may be each_file()'s */
    close(run->fd);
}

static int is_trace_file(const struct dirent *entry) {
    size_t size = strlen(entry->d_name), suffix = strlen(WEIR_FILE_SUFFIX);
    return size > suffix && strcmp(entry->d_name + size - suffix, WEIR_FILE_SUFFIX) == 0;
}

/* Each file of a path, in order of time: first to know how much there is, then to read it. */
static void each_file(struct run *run, const char *path, void (*visit)(struct run *run, const char *path), bool tell) {
    struct stat info;
    struct dirent **entries = NULL;
    if (stat(path, &info) != 0 || !S_ISDIR(info.st_mode)) {
        visit(run, path);
        return;
    }
    int count = scandir(path, &entries, is_trace_file, versionsort); /* ...-9 before ...-10 */
    if (tell && count < 0) complain(run, path, strerror(errno));
    if (tell && count == 0) complain(run, path, "no " WEIR_FILE_PREFIX "*" WEIR_FILE_SUFFIX " in this folder");
    for (int i = 0; i < count; i++) {
        char full[PATH_MAX];
        int size =
            snprintf(full, sizeof full, "%s%s%s", path, path[strlen(path) - 1] == '/' ? "" : "/", entries[i]->d_name);
        if (size < (int)sizeof full && !run->failed) visit(run, full);
        free(entries[i]);
    }
    free((void *)entries);
}

static void add_size(struct run *run, const char *path) {
    struct stat info;
    if (stat(path, &info) == 0 && S_ISREG(info.st_mode)) run->all_bytes += (uint64_t)info.st_size;
}

bool weir_stored_run(const struct weir_stored *stored, char *const *paths, int path_count,
                     struct weir_stored_counts *counts) {
    struct run run = {.stored = stored, .counts = counts, .fd = -1};
    *counts = (struct weir_stored_counts){0};
    run.otlp = weir_otlp_new(stored->names);
    uint32_t traces_max = stored->traces_max == 0 ? WEIR_STORED_TRACES_MAX : stored->traces_max;
    run.failed = run.otlp == NULL || !weir_window_open(&run.window, traces_max, hand_over, &run);
    for (int i = 0; i < path_count && !run.failed; i++)
        each_file(&run, paths[i], add_size, false);
    for (int i = 0; i < path_count && !run.failed; i++) {
        each_file(&run, paths[i], read_one, true);
        if (run.now_ns != 0) begin_at(&run, 0); /* another path is another Weir's */
        weir_window_flush(&run.window);         /* also of spans without any time */
    }
    counts->file_bytes = run.read_bytes;
    counts->pressed = run.window.pressed;
    if (run.failed) complain(&run, "out of memory", "what was read so far is not all");
    weir_window_close(&run.window);
    weir_batch_unref(run.batch);
    weir_otlp_free(run.otlp);
    free(run.ends);
    return !run.failed;
}
