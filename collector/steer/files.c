#include "collector/steer/files.h"

#include "collector/config/lists.h"
#include "collector/core/log.h"
#include "collector/core/replace.h"
#include "collector/dialects/files.h"
#include "collector/steer/command.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES_PAUSE_MAX (300 * WEIR_S)
/* A policy at its bound of rows: 2,000 operations of 256 bytes, each of which may be four times as long when escaped,
 * and each with a rate of its own, whose expression takes 700. */
enum { FILES_BYTES_MAX = 8 << 20 };

enum { WRITTEN, WRITE_FAILED, COMMAND_OK, COMMAND_FAILED, COMMAND_TIMEOUT, PENDING, WRITTEN_AT, METRICS };
static const struct weir_metric metrics_table[METRICS] = {
    [WRITTEN] = {"policy_files_total", "result=\"written\"", WEIR_COUNTER, "Writes of files that proxies read."},
    [WRITE_FAILED] = {"policy_files_total", "result=\"failed\"", WEIR_COUNTER, "Writes of files that proxies read."},
    [COMMAND_OK] = {"policy_file_commands_total", "result=\"ok\"", WEIR_COUNTER, "Commands that ran behind a write."},
    [COMMAND_FAILED] = {"policy_file_commands_total", "result=\"failed\"", WEIR_COUNTER,
                        "Commands that ran behind a write."},
    [COMMAND_TIMEOUT] = {"policy_file_commands_total", "result=\"timeout\"", WEIR_COUNTER,
                         "Commands that ran behind a write."},
    [PENDING] = {"policy_file_pending", NULL, WEIR_GAUGE,
                 "1 while a file, or whoever its command tells of it, is not yet as the policy in force says."},
    [WRITTEN_AT] = {"policy_file_written_timestamp_seconds", NULL, WEIR_GAUGE_NS,
                    "When this process last wrote the file; 0: not yet, it was so already."},
};

struct entry {
    struct weir_render_config config;
    struct weir_metric_set *metrics;
    struct weir_buffer text;      /* as it has to be on disk */
    const struct weir_plan *plan; /* that it was made of; NULL: none yet */
    uint64_t version;             /* of the service in it */
    bool to_write, to_run, to_tell;
    uint64_t write_at_ns, run_at_ns, pause_ns;
    struct weir_command command;
};

struct weir_files {
    struct weir_names *names;
    struct weir_metrics *metrics;
    const struct weir_clock *clock;
    struct weir_steering *steering;
    pthread_mutex_t lock; /* of the entries: a reload comes from another thread than ticks */
    struct entry *entries;
    uint32_t count;
};

/* ---- entries ---- */

/* The end of a long path tells more than its beginning. */
static void write_labels(const struct weir_render_config *config, char *out, size_t out_size) {
    enum { SHOWN = 128 };
    size_t size = strlen(config->path), used;
    const char *at = size > SHOWN ? config->path + size - SHOWN : config->path;
    used = (size_t)snprintf(out, out_size, "for=\"%s\",path=\"", weir_render_names[config->kind]);
    for (; *at != 0 && used + 4 < out_size; at++) {
        if (*at == '"' || *at == '\\') out[used++] = '\\';
        out[used++] = (unsigned char)*at < 0x20 ? ' ' : *at;
    }
    snprintf(out + used, out_size - used, "\"");
}

static bool open_entry(struct weir_files *files, struct entry *entry, const struct weir_render_config *config) {
    char labels[400];
    write_labels(config, labels, sizeof labels);
    *entry = (struct entry){.config = *config, .text.limit = FILES_BYTES_MAX, .pause_ns = config->min_interval_ns};
    entry->metrics = weir_metrics_open(files->metrics, metrics_table, METRICS, labels);
    return entry->metrics != NULL;
}

static struct weir_follower follower_of(struct weir_files *files, const struct entry *entry) {
    const char *service = entry->config.service;
    return (struct weir_follower){.way = WEIR_FOLLOW_FILE,
                                  .id = entry->config.path,
                                  .service = weir_names_intern(files->names, service, strlen(service))};
}

static void close_entry(struct weir_files *files, struct entry *entry) {
    weir_command_kill(&entry->command);
    weir_metrics_close(files->metrics, entry->metrics);
    weir_plan_unref(entry->plan);
    weir_buffer_free(&entry->text);
}

static bool same(const struct weir_render_config *a, const struct weir_render_config *b) {
    return a->kind == b->kind && strcmp(a->service, b->service) == 0 && strcmp(a->path, b->path) == 0 &&
           strcmp(a->command, b->command) == 0 && a->ignore_incoming == b->ignore_incoming &&
           a->timeout_ns == b->timeout_ns && a->min_interval_ns == b->min_interval_ns;
}

static struct entry *find(struct weir_files *files, const struct weir_render_config *config) {
    for (uint32_t i = 0; i < files->count; i++) {
        if (files->entries[i].metrics != NULL && same(&files->entries[i].config, config)) return &files->entries[i];
    }
    return NULL;
}

bool weir_files_set(struct weir_files *files, const struct weir_config *config) {
    struct entry *entries = calloc(config->render_count + 1u, sizeof *entries);
    if (entries == NULL) return false;
    pthread_mutex_lock(&files->lock);
    bool ok = true;
    for (uint32_t i = 0; ok && i < config->render_count; i++) {
        if (find(files, &config->renders[i]) == NULL) ok = open_entry(files, &entries[i], &config->renders[i]);
    }
    for (uint32_t i = 0; i < config->render_count; i++) {
        struct entry *before = find(files, &config->renders[i]);
        if (!ok && entries[i].metrics != NULL) close_entry(files, &entries[i]);
        if (!ok || before == NULL) continue;
        entries[i] = *before;
        before->metrics = NULL; /* it has moved */
    }
    for (uint32_t i = 0; ok && i < files->count; i++) {
        if (files->entries[i].metrics == NULL) continue;
        struct weir_follower follower = follower_of(files, &files->entries[i]);
        weir_steering_gone(files->steering, &follower);
        close_entry(files, &files->entries[i]);
    }
    if (ok) {
        struct entry *before = files->entries;
        files->entries = entries;
        files->count = config->render_count;
        entries = before;
    }
    pthread_mutex_unlock(&files->lock);
    free(entries);
    return ok;
}

/* ---- a tick ---- */

/* The text of the plan in force, where that is another one. */
static void render(struct weir_files *files, struct entry *entry) {
    static struct weir_log_limit limit;
    const char *path = entry->config.path;
    const struct weir_plan *plan = weir_steering_plan(files->steering, path, strlen(path), NULL);
    if (plan == NULL) return; /* nobody is told anything; the file stays */
    uint32_t service = weir_names_find(files->names, entry->config.service, strlen(entry->config.service));
    uint64_t version = weir_plan_find(plan, service)->version;
    if (entry->plan != NULL && entry->version == version) {
        weir_plan_unref(plan);
        return;
    }
    weir_buffer_clear(&entry->text);
    weir_file_render(&entry->config, plan, files->names, &entry->text);
    if (entry->text.failed) {
        weir_log_limited(&limit, WEIR_LOG_ERROR, "policy_file_failed path=\"%s\" reason=\"out of memory\"", path);
        weir_plan_unref(plan);
        return;
    }
    weir_plan_unref(entry->plan);
    entry->plan = plan;
    entry->version = version;
    entry->to_write = !weir_file_has(path, entry->text.bytes, entry->text.size);
    entry->to_tell = true;
}

static void write_file(struct weir_files *files, struct entry *entry, uint64_t now_ns) {
    static struct weir_log_limit limit;
    struct weir_error err = {0};
    entry->write_at_ns = now_ns + entry->config.min_interval_ns;
    if (weir_file_replace(entry->config.path, entry->text.bytes, entry->text.size, &err) != WEIR_OK) {
        weir_count(entry->metrics, WRITE_FAILED, 1);
        weir_log_limited(&limit, WEIR_LOG_WARN, "policy_file_failed reason=\"%s\"", err.text);
        return;
    }
    entry->to_write = false;
    entry->to_run = entry->config.command[0] != 0;
    entry->run_at_ns = now_ns;
    entry->pause_ns = entry->config.min_interval_ns;
    weir_count(entry->metrics, WRITTEN, 1);
    weir_gauge(entry->metrics, WRITTEN_AT, weir_unix_ns(files->clock));
    weir_log(WEIR_LOG_INFO, "policy_file_written path=\"%s\" for=%s service=\"%s\" version=%016llx", entry->config.path,
             weir_render_names[entry->config.kind], entry->config.service, (unsigned long long)entry->version);
}

static void again_later(struct entry *entry, uint64_t now_ns) {
    entry->run_at_ns = now_ns + entry->pause_ns;
    entry->pause_ns = 2 * entry->pause_ns < FILES_PAUSE_MAX ? 2 * entry->pause_ns : FILES_PAUSE_MAX;
}

static void start_command(struct entry *entry, uint64_t now_ns) {
    struct weir_error err = {0};
    if (weir_command_start(&entry->command, entry->config.command, now_ns + entry->config.timeout_ns, &err) == WEIR_OK)
        return;
    weir_count(entry->metrics, COMMAND_FAILED, 1);
    weir_log(WEIR_LOG_WARN, "policy_command_failed path=\"%s\" reason=\"%s\"", entry->config.path, err.text);
    again_later(entry, now_ns);
}

static void end_command(struct entry *entry, enum weir_command_state state, uint64_t now_ns) {
    char how[48];
    if (state == WEIR_COMMAND_OK) {
        entry->to_run = false;
        weir_count(entry->metrics, COMMAND_OK, 1);
        weir_log(WEIR_LOG_INFO, "policy_command_ran path=\"%s\" said=\"%s\"", entry->config.path, entry->command.line);
        return;
    }
    weir_command_describe(&entry->command, how, sizeof how);
    weir_count(entry->metrics, state == WEIR_COMMAND_KILLED ? COMMAND_TIMEOUT : COMMAND_FAILED, 1);
    weir_log(WEIR_LOG_WARN, "policy_command_failed path=\"%s\" reason=\"%s\" said=\"%s\"", entry->config.path,
             state == WEIR_COMMAND_KILLED ? "killed, it ran for longer than its timeout" : how, entry->command.line);
    again_later(entry, now_ns);
}

static void tick(struct weir_files *files, struct entry *entry) {
    uint64_t now_ns = weir_mono_ns(files->clock);
    enum weir_command_state state = weir_command_look(&entry->command, now_ns);
    if (state == WEIR_COMMAND_RUNS) return; /* it reads the file: another one comes when it has */
    if (state != WEIR_COMMAND_NONE) end_command(entry, state, now_ns);
    render(files, entry);
    if (entry->to_write && now_ns >= entry->write_at_ns) write_file(files, entry, now_ns);
    if (!entry->to_write && entry->to_run && now_ns >= entry->run_at_ns) start_command(entry, now_ns);
    if (entry->to_tell && !entry->to_write && !entry->to_run) {
        struct weir_follower follower = follower_of(files, entry);
        weir_steering_told(files->steering, &follower, entry->plan);
        entry->to_tell = false;
    }
    weir_gauge(entry->metrics, PENDING, entry->to_write || entry->to_run);
}

void weir_files_tick(struct weir_files *files) {
    pthread_mutex_lock(&files->lock);
    for (uint32_t i = 0; i < files->count; i++)
        tick(files, &files->entries[i]);
    pthread_mutex_unlock(&files->lock);
}

/* ---- life ---- */

struct weir_files *weir_files_new(const struct weir_config *config, struct weir_names *names,
                                  struct weir_metrics *metrics, const struct weir_clock *clock,
                                  struct weir_steering *steering) {
    struct weir_files *files = calloc(1, sizeof *files);
    if (files == NULL) return NULL;
    *files = (struct weir_files){.names = names, .metrics = metrics, .clock = clock, .steering = steering};
    pthread_mutex_init(&files->lock, NULL);
    if (weir_files_set(files, config)) return files;
    weir_files_free(files);
    return NULL;
}

void weir_files_free(struct weir_files *files) {
    if (files == NULL) return;
    uint64_t until_ns = weir_mono_ns(&weir_clock_system) + WEIR_S;
    for (uint32_t i = 0; i < files->count; i++) {
        struct entry *entry = &files->entries[i];
        weir_command_end(&entry->command, until_ns);
        close_entry(files, entry);
    }
    free(files->entries);
    pthread_mutex_destroy(&files->lock);
    free(files);
}
