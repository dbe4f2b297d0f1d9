/* replay.c - `weir spool replay`: what a spool holds, sent by the exporter that would have sent it. */
#include "collector/cli/spool/inside.h"
#include "collector/cli/spool/read.h"
#include "collector/cli/spool/send.h"
#include "collector/cli/terminal.h"
#include "collector/cli/text.h"
#include "collector/config/load.h"
#include "collector/decode/otlp_restate.h"
#include "collector/sample/policy.h"
#include "collector/spool/journal.h"
#include "exporters/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

enum { BAR_COLUMNS = 32, BATCH_SPANS = 8192, BATCH_BYTES = 1 << 20 };

static volatile sig_atomic_t stop;

static void on_signal(int number) {
    (void)number;
    stop = 1;
}

struct replay {
    const struct weir_spool_part *part;
    const struct weir_spool_replay_options *options;
    struct weir_spool_decoder *decoder;
    struct weir_send *send;
    struct weir_metrics *metrics;
    struct weir_batch *batch; /* spans of a journal, until there are enough */
    bool *kept;               /* of each segment: something of it did not get through */
    uint64_t read, waiting_bytes, done_bytes, began_ns, drawn_ns;
    uint64_t places; /* damaged */
    uint64_t dropped, removed;
    bool full, bar;
};

/* ---- progress ---- */

static void draw_bar(void *self) {
    struct replay *replay = self;
    uint64_t now = weir_mono_ns(&weir_clock_system);
    if (!replay->bar || now < replay->drawn_ns + 100 * WEIR_MS) return;
    replay->drawn_ns = now;
    const struct weir_send_counts *counts = weir_send_counts(replay->send);
    double share = replay->waiting_bytes == 0 ? 1 : (double)replay->done_bytes / (double)replay->waiting_bytes;
    double seconds = (double)(now - replay->began_ns) / (double)WEIR_S;
    char bar[BAR_COLUMNS + 1], spans[WEIR_TEXT_BYTES], rate[WEIR_TEXT_BYTES];
    if (share > 1) share = 1;
    memset(bar, '.', BAR_COLUMNS);
    memset(bar, '#', (size_t)(share * BAR_COLUMNS));
    bar[BAR_COLUMNS] = 0;
    weir_text_count(counts->delivered, spans);
    weir_text_count((uint64_t)((double)counts->delivered / (seconds > 0.1 ? seconds : 0.1)), rate);
    fprintf(stderr, "\r[%s] %3d %%  %s spans, %s/s\033[K", bar, (int)(100 * share), spans,
            counts->failing ? "waits for the back end, 0" : rate);
    fflush(stderr);
}

static void wipe_bar(const struct replay *replay) {
    if (replay->drawn_ns != 0) fputs("\r\033[K", stderr);
}

/* ---- sending ---- */

static void keep(struct replay *replay, uint64_t segment) {
    for (uint32_t i = 0; i < replay->part->segment_count; i++) {
        if (replay->part->segments[i].number == segment) replay->kept[i] = true;
    }
}

static void on_settled(void *self, uint64_t mark, uint32_t delivered, uint32_t rejected, uint32_t left) {
    (void)delivered;
    if (rejected > 0 || left > 0) keep(self, mark);
}

struct from {
    struct replay *replay;
    uint64_t segment;
    bool over;
};

static void one_batch(void *self, struct weir_batch *batch) {
    struct from *from = self;
    from->replay->read += batch->span_count;
    from->over = !weir_send_batch(from->replay->send, batch, from->segment);
}

static bool one_record(void *self, const struct weir_spool_part *part, const struct weir_log_record *record) {
    struct replay *replay = self;
    struct from from = {replay, record->segment, false};
    struct weir_error err = {0};
    enum weir_status status = weir_spool_decode(replay->decoder, part, record, one_batch, &from, &err);
    replay->done_bytes += WEIR_LOG_HEAD_BYTES + record->size;
    replay->full = status == WEIR_FULL;
    if (status == WEIR_INVALID) {
        wipe_bar(replay);
        weir_spool_complain(part, record->segment, record->offset, WEIR_LOG_HEAD_BYTES + record->size, err.text);
        keep(replay, record->segment);
        replay->places++;
    }
    return !replay->full && !from.over;
}

static void on_damage(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage) {
    struct replay *replay = self;
    replay->done_bytes += damage->bytes;
    keep(replay, damage->segment);
    replay->places++;
    wipe_bar(replay);
    weir_spool_complain(part, damage->segment, damage->offset, damage->bytes, damage->why);
}

/* What is not sent because it is over: counted by heads. */
static bool count_left(void *self, const struct weir_spool_part *part, const struct weir_log_record *record) {
    uint64_t *spans = self;
    if (weir_spool_part_kind(part, record->type) == WEIR_SPOOL_BATCH) *spans += record->type >> 4;
    return true;
}

static void no_damage(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage) {
    (void)self, (void)part, (void)damage;
}

static bool send_batches(struct replay *replay, uint64_t *waiting, struct weir_error *err) {
    const struct weir_spool_visitor heads = {
        .self = waiting, .waiting_only = true, .heads_only = true, .record = count_left, .damage = no_damage};
    const struct weir_spool_visitor all = {
        .self = replay, .waiting_only = true, .record = one_record, .damage = on_damage};
    *waiting = 0;
    enum weir_status status = weir_spool_part_visit(replay->part, &heads, err);
    if (status == WEIR_OK) status = weir_spool_part_visit(replay->part, &all, err);
    if (status == WEIR_CLOSED) { /* it is over: files that were not read stay */
        for (uint32_t i = 0; i < replay->part->segment_count; i++)
            replay->kept[i] = true;
    }
    if (replay->full) weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    return !replay->full && (status == WEIR_OK || status == WEIR_CLOSED);
}

/* ---- of a journal: what was undecided, and what was kept and may not have left ---- */

static void send_gathered(struct replay *replay) {
    struct weir_batch *batch = replay->batch;
    replay->batch = NULL;
    if (batch != NULL && batch->span_count > 0) {
        replay->read += batch->span_count;
        weir_send_batch(replay->send, batch, 0);
    }
    weir_batch_unref(batch);
}

static void one_span(void *self, struct weir_batch *batch, uint32_t i, enum weir_fate fate,
                     const struct weir_verdict *verdict, uint64_t segment) {
    struct replay *replay = self;
    struct weir_span *span = &batch->spans[i];
    (void)segment;
    if (replay->full) return;
    if (fate == WEIR_FATE_DROPPED) {
        replay->dropped++;
        return;
    }
    if (fate == WEIR_FATE_KEPT) weir_threshold_raise(span, verdict->threshold);
    if (replay->batch != NULL &&
        (replay->batch->span_count >= BATCH_SPANS || replay->batch->size + span->size > BATCH_BYTES))
        send_gathered(replay);
    if (replay->batch == NULL) replay->batch = weir_batch_new(NULL, BATCH_BYTES);
    bool changed = (span->flags & WEIR_SPAN_CHANGED) != 0;
    replay->full = replay->batch == NULL || (changed ? weir_otlp_restate(replay->batch, batch, i, NULL)
                                                     : weir_batch_copy(replay->batch, batch, i)) != WEIR_OK;
}

/* spool.directory, of DIRECTORY/journal. */
static void above(const char *path, char *out, size_t size) {
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/')
        end--;
    if (end >= 8 && memcmp(path + end - 8, "/journal", 8) == 0)
        snprintf(out, size, "%.*s", (int)(end == 8 ? 1 : end - 8), path);
    else
        snprintf(out, size, "%.*s", end == 7 && memcmp(path, "journal", 7) == 0 ? 1 : 2, "..");
}

static bool send_journal(struct replay *replay, struct weir_error *err) {
    char directory[PATH_MAX + 4];
    above(replay->part->path, directory, sizeof directory);
    const struct weir_journal_options options = {.directory = directory,
                                                 .segment_bytes = 64 << 20,
                                                 .max_bytes = 1ull << 40,
                                                 .names = weir_spool_decoder_names(replay->decoder),
                                                 .metrics = replay->metrics,
                                                 .clock = &weir_clock_system,
                                                 .read = weir_tail_read_record};
    const struct weir_journal_recovery recovery = {.span = one_span, .self = replay};
    struct weir_journal *journal = NULL;
    enum weir_status status = weir_journal_open(&journal, &options, err);
    if (status == WEIR_OK) status = weir_journal_replay(journal, &recovery, err);
    send_gathered(replay);
    weir_journal_close(journal); /* never started: nothing is removed */
    replay->done_bytes = replay->waiting_bytes;
    if (replay->full) weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    return status == WEIR_OK && !replay->full;
}

/* ---- the command ---- */

/* The part that is meant; NULL: told why not. */
static const struct weir_spool_part *choose(const struct weir_spool_dir *dir) {
    const struct weir_spool_part *found = NULL;
    uint32_t exporters = 0;
    if (dir->part_count == 1) return &dir->parts[0];
    for (uint32_t i = 0; i < dir->part_count; i++) {
        if (dir->parts[i].journal) continue;
        found = &dir->parts[i];
        exporters++;
    }
    if (exporters == 1) return found;
    fprintf(stderr,
            "weir spool: %s has several exporters, and each holds what its back end did not take: say which one\n",
            dir->path);
    for (uint32_t i = 0; i < dir->part_count; i++) {
        if (!dir->parts[i].journal) fprintf(stderr, "  weir spool replay %s/%s ...\n", dir->path, dir->parts[i].name);
    }
    return NULL;
}

static bool refuse_in_use(const struct weir_spool_part *part) {
    fprintf(stderr, "weir spool: %s: in use by a running Weir", part->path);
    if (part->pid != 0) fprintf(stderr, " (process %d)", (int)part->pid);
    fputs(", which sends it by itself\n", stderr);
    return false;
}

/* Held until *fd is closed; -1: on a medium that cannot be written, where nobody else can either. */
static bool lock(const struct weir_spool_part *part, bool remove, int *fd) {
    if (part->in_use) return refuse_in_use(part);
    *fd = openat(part->fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (*fd < 0 && !remove && (errno == EROFS || errno == EACCES)) return true;
    if (*fd < 0) {
        fprintf(stderr, "weir spool: %s/lock: %s\n", part->path, strerror(errno));
        return false;
    }
    return flock(*fd, LOCK_EX | LOCK_NB) == 0 ? true : refuse_in_use(part);
}

/* An exporter's configuration, as a file would say it. */
static struct weir_config *configure(const struct weir_spool_replay_options *options) {
    const struct weir_machine machine = {.host = "127.0.0.1", .lanes = 1};
    struct weir_buffer text = {0};
    struct weir_config *config = NULL;
    struct weir_error err = {0};
    weir_buffer_printf(&text, "exporters: { %s: { %s: ", options->as,
                       strcmp(options->as, "otlp") == 0 ? "endpoints" : "url");
    weir_json_put_string(&text, (const uint8_t *)options->to, strlen(options->to));
    for (uint32_t i = 0; i < options->setting_count; i++) {
        const char *equals = strchr(options->settings[i], '=');
        weir_buffer_printf(&text, ", %.*s: ", (int)(equals - options->settings[i]), options->settings[i]);
        weir_json_put_string(&text, (const uint8_t *)equals + 1, strlen(equals + 1));
    }
    weir_buffer_text(&text, " } }\n");
    enum weir_status status = text.failed ? weir_fail(&err, WEIR_FULL, 0, true, "out of memory")
                                          : weir_config_parse("", text.bytes, text.size, &machine, &config, &err);
    const char *why = strncmp(err.text, ":1: ", 4) == 0 ? err.text + 4 : err.text; /* there is no file and no line */
    if (status != WEIR_OK) fprintf(stderr, "weir spool: --to %s: %s\n", options->to, why);
    weir_buffer_free(&text);
    return config;
}

/* Files of which all got through, and those before the cursor. */
static void remove_files(struct replay *replay) {
    for (uint32_t i = 0; i < replay->part->segment_count; i++) {
        char name[WEIR_LOG_NAME_BYTES];
        if (replay->kept[i]) continue;
        weir_log_name(replay->part->segments[i].number, name);
        if (unlinkat(replay->part->fd, name, 0) == 0)
            replay->removed++;
        else
            fprintf(stderr, "weir spool: %s/%s: %s\n", replay->part->path, name, strerror(errno));
    }
    if (replay->removed > 0) fsync(replay->part->fd);
}

static void put_row(struct weir_buffer *out, const char *name, uint64_t count, const char *what, const char *why) {
    char text[WEIR_TEXT_BYTES];
    weir_text_count(count, text);
    weir_buffer_printf(out, "%-10s%14s %s", name, text, what);
    if (*why != 0) {
        weir_buffer_text(out, "  ");
        weir_text_put(out, why, 52, false);
    }
    weir_buffer_byte(out, '\n');
}

static void report(const struct replay *replay, const struct weir_send_counts *counts, uint64_t left) {
    struct weir_buffer out = {0};
    if (replay->options->json) {
        weir_buffer_text(&out, "{\"part\":");
        weir_json_put_string(&out, (const uint8_t *)replay->part->name, strlen(replay->part->name));
        weir_buffer_printf(&out,
                           ",\"read\":%llu,\"delivered\":%llu,\"rejected\":%llu,\"left\":%llu,\"sampled_out\":%llu,"
                           "\"damaged\":%llu,\"removed_files\":%llu}\n",
                           (unsigned long long)replay->read, (unsigned long long)counts->delivered,
                           (unsigned long long)counts->rejected, (unsigned long long)left,
                           (unsigned long long)replay->dropped, (unsigned long long)replay->places,
                           (unsigned long long)replay->removed);
    } else {
        put_row(&out, "read", replay->read, "spans", replay->part->name);
        put_row(&out, "delivered", counts->delivered, "spans", "");
        put_row(&out, "rejected", counts->rejected, "spans", counts->rejected > 0 ? counts->rejected_why : "");
        put_row(&out, "left", left, "spans", left > 0 ? (stop ? "interrupted" : counts->left_why) : "");
        if (replay->part->journal)
            put_row(&out, "left out", replay->dropped, "spans", "of traces that were decided so");
        if (replay->places > 0) put_row(&out, "damaged", replay->places, "places", "");
        if (replay->options->remove) put_row(&out, "removed", replay->removed, "files", "");
    }
    weir_spool_flush(&out);
    weir_buffer_free(&out);
}

static int run(struct replay *replay, const struct weir_config *config) {
    const struct weir_exporter_config *exporter = &config->exporters[0];
    struct weir_error err = {0};
    const struct weir_send_options options = {.exporter = weir_exporter_find(exporter->type),
                                              .config = exporter,
                                              .env = {.names = weir_spool_decoder_names(replay->decoder),
                                                      .metrics = replay->metrics,
                                                      .clock = &weir_clock_system},
                                              .spans_per_second = replay->options->spans_per_second,
                                              .patience_ns = replay->options->patience_ns,
                                              .self = replay,
                                              .settled = on_settled,
                                              .turn = draw_bar,
                                              .stop = &stop};
    if (weir_send_open(&replay->send, &options, &err) != WEIR_OK) {
        fprintf(stderr, "weir spool: %s\n", err.text);
        return 1;
    }
    uint64_t waiting = 0;
    bool whole = replay->part->journal ? send_journal(replay, &err) : send_batches(replay, &waiting, &err);
    weir_send_finish(replay->send);
    wipe_bar(replay);
    if (!whole) fprintf(stderr, "weir spool: %s: %s\n", replay->part->name, err.text);
    const struct weir_send_counts *counts = weir_send_counts(replay->send);
    uint64_t left = counts->left + (waiting > replay->read && replay->places == 0 ? waiting - replay->read : 0);
    if (replay->part->journal && (left > 0 || counts->rejected > 0 || !whole)) { /* all of it or nothing */
        for (uint32_t i = 0; i < replay->part->segment_count; i++)
            replay->kept[i] = true;
    }
    if (replay->options->remove && whole) remove_files(replay);
    report(replay, counts, left);
    return whole && left == 0 && counts->rejected == 0 && replay->places == 0 ? 0 : 1;
}

static uint64_t waiting_bytes(const struct weir_spool_part *part) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < part->segment_count; i++) {
        if (part->segments[i].number > part->cursor_segment) bytes += part->segments[i].bytes;
        if (part->segments[i].number == part->cursor_segment && part->segments[i].bytes > part->cursor_offset)
            bytes += part->segments[i].bytes - part->cursor_offset;
    }
    return bytes;
}

int weir_spool_replay(const struct weir_spool_dir *dir, const struct weir_spool_replay_options *options) {
    struct replay replay = {.options = options, .part = choose(dir), .began_ns = weir_mono_ns(&weir_clock_system)};
    int status = 1, fd = -1;
    if (replay.part == NULL) return 1;
    struct weir_config *config = configure(options);
    if (config == NULL) return 2;
    if (replay.part->journal ? replay.part->in_use && !refuse_in_use(replay.part)
                             : !lock(replay.part, options->remove, &fd)) {
        weir_config_free(config);
        return 1;
    }
    replay.bar = weir_terminal_of(stderr).is_terminal;
    replay.waiting_bytes = waiting_bytes(replay.part);
    replay.decoder = weir_spool_decoder_new();
    replay.metrics = weir_metrics_new();
    replay.kept = calloc(replay.part->segment_count + (size_t)1, sizeof *replay.kept);
    signal(SIGINT, on_signal);
    signal(SIGTERM, on_signal);
    if (replay.decoder != NULL && replay.metrics != NULL && replay.kept != NULL)
        status = run(&replay, config);
    else
        fputs("weir spool: out of memory\n", stderr);
    weir_send_close(replay.send);
    weir_spool_decoder_free(replay.decoder);
    weir_metrics_free(replay.metrics);
    free(replay.kept);
    weir_config_free(config);
    if (fd >= 0) close(fd);
    return status;
}
