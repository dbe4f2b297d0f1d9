/* file.c - batches into trace files (format.h), each batch one frame. Settles before send() returns. */
#include "exporters/exporter.h"
#include "exporters/file/format.h"
#include "exporters/file/store.h"
#include "exporters/splice.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

enum { PLAIN_BYTES, WRITTEN_BYTES, REMOVED_FILES, REMOVED_BYTES, HELD_BYTES, FILE_METRICS };
static const struct weir_metric metrics[FILE_METRICS] = {
    [PLAIN_BYTES] = {"file_plain_bytes_total", NULL, WEIR_COUNTER, "Bytes of OTLP given to compression."},
    [WRITTEN_BYTES] = {"file_written_bytes_total", NULL, WEIR_COUNTER, "Bytes written to trace files."},
    [REMOVED_FILES] = {"file_removed_files_total", NULL, WEIR_COUNTER,
                       "Oldest trace files that were removed to keep to max_total_bytes."},
    [REMOVED_BYTES] = {"file_removed_bytes_total", NULL, WEIR_COUNTER,
                       "Bytes of the oldest trace files that were removed to keep to max_total_bytes."},
    [HELD_BYTES] = {"file_bytes", NULL, WEIR_GAUGE, "Bytes of all trace files in the directory."},
};

struct file {
    struct weir_store *store;
    struct weir_metrics *registry;
    struct weir_metric_set *set;
    ZSTD_CCtx *zstd;
    struct weir_splice splice;
    struct weir_buffer plain, frame;
};

static void file_close(void *self) {
    struct file *file = self;
    if (file == NULL) return;
    weir_store_close(file->store);
    if (file->set != NULL) weir_metrics_close(file->registry, file->set);
    ZSTD_freeCCtx(file->zstd);
    weir_splice_free(&file->splice);
    weir_buffer_free(&file->plain);
    weir_buffer_free(&file->frame);
    free(file);
}

static enum weir_status set_up_zstd(struct file *file, int level, struct weir_error *err) {
    file->zstd = ZSTD_createCCtx();
    if (file->zstd == NULL) return weir_fail(err, WEIR_FULL, 0, false, "file: out of memory");
    size_t code = ZSTD_CCtx_setParameter(file->zstd, ZSTD_c_compressionLevel, level);
    if (!ZSTD_isError(code)) code = ZSTD_CCtx_setParameter(file->zstd, ZSTD_c_checksumFlag, 1);
    if (!ZSTD_isError(code) && ZSTD_maxCLevel() >= 20 &&
        level >= 20) { /* from here on windows outgrow what readers take */
        code = ZSTD_CCtx_setParameter(file->zstd, ZSTD_c_windowLog, WEIR_FILE_WINDOW_LOG_MAX);
    }
    if (ZSTD_isError(code))
        return weir_fail(err, WEIR_INVALID, 0, false, "file: compression_level %d: %s", level, ZSTD_getErrorName(code));
    return WEIR_OK;
}

static enum weir_status file_open(void **self, const struct weir_exporter_config *config,
                                  const struct weir_exporter_env *env, struct weir_error *err) {
    struct file *file = calloc(1, sizeof *file);
    if (file == NULL) return weir_fail(err, WEIR_FULL, 0, false, "file: out of memory");
    struct weir_store_limits limits = {config->file.max_file_bytes, config->file.max_total_bytes,
                                       config->file.max_file_age_ns};
    char labels[160];
    snprintf(labels, sizeof labels, "exporter=\"%s\"", config->name);
    enum weir_status status = set_up_zstd(file, config->file.compression_level, err);
    if (status == WEIR_OK) status = weir_store_open(&file->store, config->file.directory, &limits, env->clock, err);
    if (status == WEIR_OK) {
        file->registry = env->metrics;
        file->set = weir_metrics_open(env->metrics, metrics, FILE_METRICS, labels);
        if (file->set == NULL) status = weir_fail(err, WEIR_FULL, 0, false, "file: out of memory");
    }
    if (status != WEIR_OK) {
        file_close(file);
        return status;
    }
    weir_gauge(file->set, HELD_BYTES, weir_store_counts(file->store)->held_bytes);
    *self = file;
    return WEIR_OK;
}

static void put_length(uint8_t *at, size_t size) {
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(size >> (24 - 8 * i));
}

/* The batch as one frame in file->frame. */
static enum weir_status compress(struct file *file, const struct weir_batch *batch, struct weir_error *err) {
    weir_buffer_clear(&file->plain);
    weir_buffer_clear(&file->frame);
    weir_buffer_put(&file->plain, "\0\0\0\0", 4);
    enum weir_status status = weir_splice_encode(&file->splice, batch, &file->plain);
    if (status != WEIR_OK || file->plain.failed) return weir_fail(err, WEIR_FULL, 0, true, "file: out of memory");
    put_length(file->plain.bytes, file->plain.size - 4);
    size_t bound = ZSTD_compressBound(file->plain.size);
    if (!weir_buffer_room(&file->frame, bound)) return weir_fail(err, WEIR_FULL, 0, true, "file: out of memory");
    size_t size = ZSTD_compress2(file->zstd, file->frame.bytes, bound, file->plain.bytes, file->plain.size);
    if (ZSTD_isError(size)) return weir_fail(err, WEIR_FULL, 0, true, "file: zstd: %s", ZSTD_getErrorName(size));
    file->frame.size = size;
    return WEIR_OK;
}

static void show(struct file *file) {
    const struct weir_store_counts *counts = weir_store_counts(file->store);
    weir_gauge(file->set, WRITTEN_BYTES, counts->written_bytes);
    weir_gauge(file->set, REMOVED_FILES, counts->removed_files);
    weir_gauge(file->set, REMOVED_BYTES, counts->removed_bytes);
    weir_gauge(file->set, HELD_BYTES, counts->held_bytes);
}

static void file_send(void *self, const struct weir_batch *batch, struct weir_ticket *ticket) {
    struct file *file = self;
    struct weir_error err;
    enum weir_status status = compress(file, batch, &err);
    if (status == WEIR_OK) status = weir_store_append(file->store, file->frame.bytes, file->frame.size, &err);
    if (status == WEIR_OK) weir_count(file->set, PLAIN_BYTES, file->plain.size);
    show(file);
    ticket->settle(ticket, status == WEIR_OK ? WEIR_DELIVERED : WEIR_RETRY, 0, status == WEIR_OK ? NULL : err.text);
}

static void file_drive(void *self, int timeout_ms) {
    struct file *file = self;
    (void)timeout_ms; /* nothing is ever in flight */
    weir_store_tick(file->store);
}

static void file_wake(void *self) {
    (void)self; /* drive() does not wait */
}

const struct weir_exporter weir_export_file = {
    .type = "file",
    .open = file_open,
    .send = file_send,
    .drive = file_drive,
    .wake = file_wake,
    .close = file_close,
};
