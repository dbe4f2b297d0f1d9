#include "collector/pipeline.h"
#include "collector/aggregate/aggregate.h"
#include "collector/attributes/rules.h"
#include "collector/check.h"
#include "collector/config/limits.h"
#include "collector/core/log.h"
#include "collector/lane/lane.h"
#include "collector/ports.h"
#include "collector/receive/receiver.h"
#include "collector/serve/admin.h"
#include "collector/serve/process.h"
#include "collector/spool/orphans.h"
#include "collector/steer/steer.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { NAME_BYTES = 64 /* a name's, on average; what the bound in bytes comes from */ };

enum { BUILD, LANES, RELOAD_OK, RELOAD_TIME, INTAKE, INTAKE_LIMIT, NAMES, NAMES_OVERFLOW, ORPHANS, METRICS };
static const struct weir_metric own_metrics[METRICS] = {
    [BUILD] = {"build_info", "version=\"" WEIR_VERSION "\"", WEIR_GAUGE, "Always 1; the version is in the label."},
    [LANES] = {"lanes", NULL, WEIR_GAUGE, "Lanes that run."},
    [RELOAD_OK] = {"config_last_reload_successful", NULL, WEIR_GAUGE,
                   "1 when the last reading of the configuration succeeded, else 0."},
    [RELOAD_TIME] = {"config_last_reload_success_timestamp_seconds", NULL, WEIR_GAUGE_NS,
                     "When a reading of the configuration last succeeded."},
    [INTAKE] = {"intake_bytes", NULL, WEIR_GAUGE, "Memory held by messages being read, decoded and handed over."},
    [INTAKE_LIMIT] =
        {"intake_limit_bytes", NULL, WEIR_GAUGE,
         "Bound of weir_intake_bytes: from half of it on thresholds rise, beyond it requests are refused."},
    [NAMES] = {"names", NULL, WEIR_GAUGE, "Distinct services, operations, peers and label values held."},
    [NAMES_OVERFLOW] = {"names_overflow_total", NULL, WEIR_COUNTER,
                        "Look-ups answered with the name \"overflow\" because memory.names was met."},
    [ORPHANS] = {"spool_orphaned_bytes", NULL, WEIR_GAUGE,
                 "On disk at the start in spools of exporters that the configuration does not name: nobody sends it."},
};

enum life { STARTING, RUNNING, DRAINING };

struct weir_pipeline {
    char path[WEIR_TEXT_MAX];
    struct weir_config *boot; /* what it was started with: what cannot change live stays as it says */
    struct weir_snapshot now; /* what is in force */
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_metric_set *set;
    struct weir_rules_counts *rule_counts;
    struct weir_aggregate *aggregate;
    struct weir_ledger *ledger;
    struct weir_budget intake;
    struct weir_queue *queues[WEIR_EXPORTERS_MAX];
    uint32_t queue_count, queues_started;
    uint32_t lane_count;
    struct weir_lanes *lanes;
    struct weir_taps *taps;
    struct weir_journal *journal; /* NULL: not durable */
    struct weir_steering *steering;
    struct weir_meter *meters[WEIR_LANES_MAX];
    struct weir_steer *steer;
    struct weir_admin *admin;
    _Atomic int life;
    pthread_mutex_t reloading; /* one reload at a time, none once it drains */
};

static enum weir_log_level level_of(const char *name) {
    if (strcmp(name, "debug") == 0) return WEIR_LOG_DEBUG;
    if (strcmp(name, "warn") == 0) return WEIR_LOG_WARN;
    if (strcmp(name, "error") == 0) return WEIR_LOG_ERROR;
    return WEIR_LOG_INFO;
}

/* ---- what the admin port asks ---- */

static void expose(void *self, bool exemplars, struct weir_buffer *out) {
    struct weir_pipeline *pipeline = self;
    weir_ledger_expose(pipeline->ledger, out); /* before the series: they hold at least what it says was received */
    weir_aggregate_expose(pipeline->aggregate, exemplars, out);
    weir_steer_expose(pipeline->steer, out);
    weir_process_expose(out);
    weir_metrics_expose(pipeline->metrics, out);
}

static const char *not_ready(void *self) {
    struct weir_pipeline *pipeline = self;
    switch ((enum life)atomic_load(&pipeline->life)) {
    case STARTING: return "starting";
    case DRAINING: return "draining";
    default: return NULL;
    }
}

static bool reload(void *self, struct weir_buffer *answer) {
    return weir_pipeline_reload(self, answer);
}

static bool explain(void *self, uint64_t trace_hi, uint64_t trace_lo, struct weir_buffer *out) {
    struct weir_pipeline *pipeline = self;
    if (weir_lanes_explain(pipeline->lanes, trace_hi, trace_lo, out)) return true;
    weir_buffer_text(out,
                     "no such trace here: its spans do not wait for a decision, and of those that were decided the "
                     "memory reaches only so far back (docs/sampling.md)\n");
    return false;
}

static void write_policy(void *self, struct weir_buffer *out) {
    weir_steer_write(((struct weir_pipeline *)self)->steer, out);
}

static void refresh(struct weir_metric_set *set, void *self) {
    struct weir_pipeline *pipeline = self;
    weir_gauge(set, INTAKE, atomic_load_explicit(&pipeline->intake.used_bytes, memory_order_relaxed));
    weir_gauge(set, INTAKE_LIMIT, atomic_load_explicit(&pipeline->intake.limit_bytes, memory_order_relaxed));
    weir_gauge(set, NAMES, weir_names_count(pipeline->names));
    weir_gauge(set, NAMES_OVERFLOW, weir_names_overflows(pipeline->names));
}

/* ---- configuration ---- */

static enum weir_status compile_rules(const struct weir_pipeline *pipeline, struct weir_config *config,
                                      struct weir_error *err) {
    struct weir_rules *rules = NULL;
    enum weir_status status = weir_rules_new(config, pipeline->rule_counts, &rules, err);
    config->rules = rules;
    return status;
}

static void free_config(struct weir_config *config) {
    if (config != NULL) weir_rules_free((struct weir_rules *)(uintptr_t)config->rules);
    weir_config_free(config);
}

/* A policy of which only what proxies are told counts. *canary stays NULL where there is none. */
static enum weir_status read_canary(const struct weir_pipeline *pipeline, const struct weir_config *config,
                                    struct weir_policy **canary, struct weir_error *err) {
    if (config->sampling.canary_policy[0] == 0) return WEIR_OK;
    return weir_policy_load_canary(config->sampling.canary_policy, pipeline->names, canary, err);
}

static enum weir_status read_policies(const struct weir_pipeline *pipeline, struct weir_snapshot *snapshot,
                                      struct weir_error *err) {
    const struct weir_config *config = snapshot->config;
    enum weir_status status = weir_policy_load(config->sampling.policy, pipeline->names, &snapshot->policy, err);
    if (status != WEIR_OK) return status;
    status = weir_policy_load_shadow(config->sampling.shadow, pipeline->names, &snapshot->shadow, err);
    if (status == WEIR_OK) status = read_canary(pipeline, config, &snapshot->canary, err);
    if (status == WEIR_OK) return WEIR_OK;
    weir_policy_unref(snapshot->policy);
    weir_policy_unref(snapshot->shadow);
    snapshot->policy = snapshot->shadow = NULL;
    return status;
}

static struct weir_steer_policies steer_policies(const struct weir_snapshot *snapshot) {
    return (struct weir_steer_policies){
        .policy = snapshot->policy, .canary = snapshot->canary, .share = snapshot->config->sampling.canary_share};
}

static enum weir_status read_snapshot(const struct weir_pipeline *pipeline, struct weir_snapshot *snapshot,
                                      struct weir_error *err) {
    struct weir_config *config = NULL;
    enum weir_status status = weir_config_load(pipeline->path, &config, err);
    if (status != WEIR_OK) return status;
    struct weir_snapshot made = {.config = config};
    status = compile_rules(pipeline, config, err);
    if (status == WEIR_OK) status = read_policies(pipeline, &made, err);
    if (status != WEIR_OK) {
        free_config(config);
        return status;
    }
    *snapshot = made;
    return WEIR_OK;
}

/* Hands back the memory of a snapshot that no lane reads any more; the one of the start is kept for comparison. */
static void release_snapshot(const struct weir_pipeline *pipeline, struct weir_snapshot snapshot) {
    if (snapshot.config != pipeline->boot) free_config((struct weir_config *)(uintptr_t)snapshot.config);
    weir_policy_unref(snapshot.policy);
    weir_policy_unref(snapshot.shadow);
    weir_policy_unref(snapshot.canary);
}

static void reload_queues(struct weir_pipeline *pipeline, const struct weir_config *config) {
    for (uint32_t i = 0; i < pipeline->queue_count; i++) {
        for (uint32_t k = 0; k < config->exporter_count; k++) {
            if (strcmp(weir_queue_name(pipeline->queues[i]), config->exporters[k].name) == 0)
                weir_queue_reload(pipeline->queues[i], &config->exporters[k]);
        }
    }
}

bool weir_pipeline_reload(struct weir_pipeline *pipeline, struct weir_buffer *answer) {
    struct weir_error err = {0};
    struct weir_snapshot next = {0};
    pthread_mutex_lock(&pipeline->reloading);
    if (atomic_load(&pipeline->life) != RUNNING) {
        weir_buffer_text(answer, "not reloaded: Weir is starting or draining\n");
        pthread_mutex_unlock(&pipeline->reloading);
        return false;
    }
    bool ok = read_snapshot(pipeline, &next, &err) == WEIR_OK;
    weir_gauge(pipeline->set, RELOAD_OK, ok);
    if (!ok) {
        weir_log(WEIR_LOG_ERROR, "reload_failed reason=\"%s\"", err.text);
        weir_buffer_printf(answer, "not reloaded, nothing changed: %s\n", err.text);
    } else {
        char restart[512];
        weir_config_needs_restart(pipeline->boot, next.config, restart, sizeof restart);
        weir_lanes_reload(pipeline->lanes, &next);
        weir_taps_set_deciding(pipeline->taps, weir_policy_keep_part(next.policy) != NULL);
        reload_queues(pipeline, next.config);
        struct weir_steer_policies policies = steer_policies(&next);
        weir_steer_reload(pipeline->steer, &policies, next.config);
        atomic_store(&pipeline->intake.limit_bytes, next.config->intake_bytes);
        weir_admin_set_lifecycle(pipeline->admin, next.config->admin.lifecycle);
        weir_log_set_level(level_of(next.config->log_level));
        struct weir_snapshot before = pipeline->now;
        pipeline->now = next;
        release_snapshot(pipeline, before);
        weir_gauge(pipeline->set, RELOAD_TIME, weir_unix_ns(&weir_clock_system));
        weir_log(WEIR_LOG_INFO, "reloaded policy=%016llx restart_needed=\"%s\"",
                 (unsigned long long)weir_policy_version(next.policy), restart);
        weir_buffer_text(answer, "reloaded\n");
        if (*restart != 0) weir_buffer_printf(answer, "only a restart can change: %s\n", restart);
    }
    pthread_mutex_unlock(&pipeline->reloading);
    return ok;
}

/* ---- building ---- */

/* A taken port is fatal when the file asks for it; else the receiver stays off. */
static enum weir_status claim(const char *key, const struct weir_listen *listen, bool datagram, bool *on,
                              struct weir_error *err) {
    *on = listen->on;
    if (!listen->on) return WEIR_OK;
    enum weir_status status = weir_port_check(key, listen, datagram, err);
    if (status == WEIR_OK || listen->asked) return status;
    weir_log(WEIR_LOG_WARN, "listener_off reason=\"%s\"", err->text);
    *on = false;
    return WEIR_OK;
}

/* Says which key the failure belongs to. */
static enum weir_status failed_at(const char *section, const char *name, struct weir_error *err) {
    const struct weir_error inner = *err;
    if (strncmp(inner.text, section, strlen(section)) == 0) return inner.status; /* it says so itself */
    return weir_fail(err, inner.status, inner.sys, inner.retryable, "%s%s: %.180s", section, name, inner.text);
}

static enum weir_status open_spool(struct weir_pipeline *pipeline, struct weir_queue *queue,
                                   const struct weir_exporter_config *exporter, struct weir_error *err) {
    const struct weir_config *config = pipeline->boot;
    if (config->spool.directory[0] == 0 || !exporter->spool) return WEIR_OK;
    char path[WEIR_TEXT_MAX + 96];
    weir_spool_folder(config->spool.directory, exporter->name, path, sizeof path);
    const struct weir_queue_disk disk = {.durable = config->spool.durable,
                                         .memory_age_ns = config->spool.memory_age_ns,
                                         .read_bytes_per_second = config->spool.read_bytes_per_second};
    const struct weir_spool_options options = {.directory = path,
                                               .exporter = exporter->name,
                                               .segment_bytes = config->spool.segment_bytes,
                                               .max_bytes = weir_config_spool_share(config),
                                               .level = config->spool.compression_level,
                                               .names = pipeline->names,
                                               .metrics = pipeline->metrics,
                                               .clock = &weir_clock_system};
    enum weir_status status = weir_queue_spool(queue, &disk, &options, err);
    return status == WEIR_OK ? WEIR_OK : failed_at("spool.directory", "", err);
}

static enum weir_status open_queues(struct weir_pipeline *pipeline, struct weir_error *err) {
    struct weir_exporter_env env = {
        .names = pipeline->names, .metrics = pipeline->metrics, .clock = &weir_clock_system};
    const struct weir_config *config = pipeline->boot;
    for (uint32_t i = 0; i < config->exporter_count; i++) {
        const struct weir_exporter_config *one = &config->exporters[i];
        struct weir_queue *queue = NULL;
        enum weir_status status = weir_queue_open(&queue, weir_exporter_find(one->type), one, &env, err);
        if (status != WEIR_OK) return failed_at("exporters.", one->name, err);
        pipeline->queues[pipeline->queue_count++] = queue;
        status = open_spool(pipeline, queue, one, err);
        if (status != WEIR_OK) return status;
        weir_ledger_add_exporter(pipeline->ledger, weir_queue_name(queue), weir_queue_row, queue);
    }
    return WEIR_OK;
}

static void look_for_orphans(const struct weir_pipeline *pipeline) {
    const struct weir_config *config = pipeline->boot;
    const char *names[WEIR_EXPORTERS_MAX];
    size_t count = 0;
    if (config->spool.directory[0] == 0) return;
    for (uint32_t i = 0; i < config->exporter_count; i++) {
        if (config->exporters[i].spool) names[count++] = config->exporters[i].name;
    }
    weir_gauge(pipeline->set, ORPHANS,
               weir_spool_orphans(config->spool.directory, names, count, config->spool.durable));
}

static enum weir_status open_receivers(struct weir_pipeline *pipeline, struct weir_error *err) {
    const struct weir_config *config = pipeline->boot;
    const struct {
        const struct weir_receiver *receiver;
        const struct weir_listen *listen;
        const char *key;
        bool datagram;
    } all[] = {
        {&weir_receive_grpc, &config->grpc.listen, "receivers.grpc.listen", false},
        {&weir_receive_statsd, &config->statsd.listen, "receivers.statsd.listen", true},
        {&weir_receive_datagram, &config->datagram.listen, "receivers.datagram.listen", true},
        {&weir_receive_otlp_http, &config->otlp_http.listen, "receivers.otlp_http.listen", false},
        {&weir_receive_zipkin, &config->zipkin.listen, "receivers.zipkin.listen", false},
        {&weir_receive_sampling, &config->sampling_http.listen, "receivers.sampling.listen", false},
        {&weir_receive_scribe, &config->scribe.listen, "receivers.scribe.listen", false},
        {&weir_receive_access_log, &config->access_log.listen, "receivers.access_log.listen", true},
    };
    bool asked = false, opened = false;
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        bool on;
        enum weir_status status = claim(all[i].key, all[i].listen, all[i].datagram, &on, err);
        asked = asked || all[i].listen->on;
        opened = opened || on;
        if (status == WEIR_OK && on) status = weir_lanes_open(pipeline->lanes, all[i].receiver, config, err);
        if (status != WEIR_OK) return status;
        if (on)
            weir_log(WEIR_LOG_INFO, "listening receiver=%s address=%s:%u", all[i].receiver->name, all[i].listen->host,
                     all[i].listen->port);
    }
    if (asked && !opened)
        return weir_fail(err, WEIR_IO, 0, false,
                         "no receiver could listen: the ports of all of them are taken. Is another Weir running? A "
                         "configuration (-c) gives this one ports of its own");
    return WEIR_OK;
}

static enum weir_status open_admin(struct weir_pipeline *pipeline, struct weir_error *err) {
    const struct weir_listen *listen = &pipeline->boot->admin.listen;
    const struct weir_admin_calls calls = {.self = pipeline,
                                           .expose = expose,
                                           .not_ready = not_ready,
                                           .reload = reload,
                                           .explain = explain,
                                           .policy = write_policy,
                                           .taps = pipeline->taps,
                                           .steering = pipeline->steering,
                                           .names = pipeline->names};
    bool on;
    enum weir_status status = claim("admin.listen", listen, false, &on, err);
    if (status != WEIR_OK || !on) return status;
    const struct weir_admin_options options = {.listen = listen,
                                               .lifecycle = pipeline->boot->admin.lifecycle,
                                               .tls = &pipeline->boot->admin.tls,
                                               .bearer_token_file = pipeline->boot->admin.bearer_token_file};
    status = weir_admin_open(&pipeline->admin, &options, &calls, pipeline->metrics, &weir_clock_system, err);
    if (status == WEIR_OK)
        weir_log(WEIR_LOG_INFO, "listening receiver=admin address=%s:%u", listen->host, listen->port);
    return status;
}

/* DIRECTORY/decisions; "" where nothing outlives the process. */
static void decisions_path(const struct weir_pipeline *pipeline, char *out, size_t out_size) {
    const char *directory = pipeline->boot->spool.directory;
    snprintf(out, out_size, "%s%s", directory, directory[0] != 0 ? "/decisions" : "");
}

static enum weir_status open_journal(struct weir_pipeline *pipeline, struct weir_error *err) {
    const struct weir_config *config = pipeline->boot;
    if (config->spool.directory[0] != 0 && mkdir(config->spool.directory, 0700) != 0 && errno != EEXIST)
        return weir_fail(err, WEIR_IO, errno, false, "spool.directory %s", config->spool.directory);
    if (!config->spool.durable) return WEIR_OK;
    const struct weir_journal_options options = {.directory = config->spool.directory,
                                                 .segment_bytes = config->spool.segment_bytes,
                                                 .max_bytes = weir_config_spool_share(config),
                                                 .names = pipeline->names,
                                                 .metrics = pipeline->metrics,
                                                 .clock = &weir_clock_system,
                                                 .read = weir_tail_read_record};
    enum weir_status status = weir_journal_open(&pipeline->journal, &options, err);
    return status == WEIR_OK ? WEIR_OK : failed_at("spool.directory", "", err);
}

/* What the process before this one knew and had not finished. Only a journal that cannot be read is a reason to stop:
 * without the file of decisions late spans are decided anew. */
static enum weir_status take_up(struct weir_pipeline *pipeline, struct weir_error *err) {
    char path[WEIR_TEXT_MAX + 16];
    struct weir_error why = {0};
    decisions_path(pipeline, path, sizeof path);
    if (path[0] != 0 && weir_lanes_load(pipeline->lanes, path, &why) != WEIR_OK)
        weir_log(WEIR_LOG_WARN, "decisions_lost reason=\"%s\"", why.text);
    if (pipeline->journal == NULL) return WEIR_OK;
    enum weir_status status = weir_journal_start(pipeline->journal, err);
    return status == WEIR_OK ? weir_lanes_recover(pipeline->lanes, err) : status;
}

/* What is told is on the board before anybody can ask. */
static enum weir_status open_steer(struct weir_pipeline *pipeline, struct weir_error *err) {
    char path[WEIR_TEXT_MAX + 16] = "";
    const struct weir_config *config = pipeline->boot;
    if (config->spool.directory[0] != 0) snprintf(path, sizeof path, "%s/rates", config->spool.directory);
    pipeline->steering = weir_steering_new(pipeline->names, pipeline->metrics, &weir_clock_system);
    bool made = pipeline->steering != NULL;
    for (uint32_t i = 0; made && i < pipeline->lane_count; i++) {
        pipeline->meters[i] = weir_meter_new();
        made = pipeline->meters[i] != NULL;
    }
    if (!made) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    const struct weir_steer_env env = {.names = pipeline->names,
                                       .metrics = pipeline->metrics,
                                       .clock = &weir_clock_system,
                                       .aggregate = pipeline->aggregate,
                                       .steering = pipeline->steering,
                                       .meters = pipeline->meters,
                                       .meter_count = pipeline->lane_count,
                                       .config = config,
                                       .rates_path = path};
    struct weir_steer_policies policies = steer_policies(&pipeline->now);
    return weir_steer_new(&pipeline->steer, &env, &policies, err);
}

static enum weir_status build(struct weir_pipeline *pipeline, struct weir_error *err) {
    const struct weir_config *config = pipeline->boot;
    pipeline->lane_count = config->lanes != 0 ? config->lanes : weir_cpu_limit("/sys/fs/cgroup", "/proc/self/cgroup");
    atomic_init(&pipeline->intake.limit_bytes, config->intake_bytes);
    pipeline->aggregate = weir_aggregate_new(&config->aggregate, pipeline->lane_count, pipeline->names,
                                             pipeline->metrics, &weir_clock_system);
    pipeline->ledger = weir_ledger_new(pipeline->lane_count);
    pipeline->taps = weir_taps_new(pipeline->names, pipeline->metrics, &weir_clock_system);
    if (pipeline->aggregate == NULL || pipeline->ledger == NULL || pipeline->taps == NULL)
        return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    weir_taps_set_deciding(pipeline->taps, weir_policy_keep_part(pipeline->now.policy) != NULL);
    enum weir_status status = open_queues(pipeline, err);
    if (status == WEIR_OK) look_for_orphans(pipeline);
    if (status == WEIR_OK) status = open_journal(pipeline, err);
    if (status == WEIR_OK) status = open_steer(pipeline, err);
    if (status != WEIR_OK) return status;
    const struct weir_lanes_env env = {
        .names = pipeline->names,
        .metrics = pipeline->metrics,
        .clock = &weir_clock_system,
        .aggregate = pipeline->aggregate,
        .ledger = pipeline->ledger,
        .intake = &pipeline->intake,
        .taps = pipeline->taps,
        .journal = pipeline->journal,
        .queues = pipeline->queues,
        .queue_count = pipeline->queue_count,
        .steering = pipeline->steering,
        .meters = pipeline->meters,
    };
    status = weir_lanes_new(&pipeline->lanes, pipeline->lane_count, &env, &pipeline->now, err);
    if (status == WEIR_OK) status = open_receivers(pipeline, err);
    if (status == WEIR_OK) status = open_admin(pipeline, err);
    for (; status == WEIR_OK && pipeline->queues_started < pipeline->queue_count; pipeline->queues_started++) {
        status = weir_queue_start(pipeline->queues[pipeline->queues_started], err);
        if (status != WEIR_OK) break;
    }
    if (status == WEIR_OK) status = take_up(pipeline, err);
    if (status == WEIR_OK) status = weir_lanes_start(pipeline->lanes, err);
    return status == WEIR_OK ? weir_steer_start(pipeline->steer, err) : status;
}

/* From the tail: nobody may ask, then nobody may write, then what they wrote into. */
static void release(struct weir_pipeline *pipeline) {
    weir_admin_close(pipeline->admin);
    weir_steer_free(pipeline->steer);
    weir_lanes_free(pipeline->lanes);
    for (uint32_t i = 0; i < pipeline->lane_count; i++)
        weir_meter_free(pipeline->meters[i]);
    weir_steering_free(pipeline->steering);
    weir_taps_free(pipeline->taps);
    for (uint32_t i = 0; i < pipeline->queue_count; i++) {
        if (i < pipeline->queues_started) weir_queue_stop(pipeline->queues[i], 0);
        weir_ledger_remove_exporter(pipeline->ledger, weir_queue_name(pipeline->queues[i]));
        weir_queue_free(pipeline->queues[i]);
    }
    weir_journal_close(pipeline->journal);
    weir_ledger_free(pipeline->ledger);
    weir_aggregate_free(pipeline->aggregate);
    release_snapshot(pipeline, pipeline->now);
    free_config(pipeline->boot);
    weir_rules_counts_free(pipeline->rule_counts);
    weir_metrics_close(pipeline->metrics, pipeline->set);
    weir_metrics_free(pipeline->metrics);
    weir_names_free(pipeline->names);
    pthread_mutex_destroy(&pipeline->reloading);
    free(pipeline);
}

enum weir_status weir_pipeline_start(struct weir_pipeline **out, const char *path, struct weir_error *err) {
    struct weir_pipeline *pipeline = calloc(1, sizeof *pipeline);
    if (pipeline == NULL) return weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    pthread_mutex_init(&pipeline->reloading, NULL);
    snprintf(pipeline->path, sizeof pipeline->path, "%s", path);
    enum weir_status status = weir_config_load(path, &pipeline->boot, err);
    if (status == WEIR_OK) {
        weir_log_set_level(level_of(pipeline->boot->log_level));
        pipeline->now.config = pipeline->boot;
        pipeline->names = weir_names_new(pipeline->boot->names_max, (size_t)pipeline->boot->names_max * NAME_BYTES);
        pipeline->metrics = weir_metrics_new();
        if (pipeline->metrics != NULL) pipeline->set = weir_metrics_open(pipeline->metrics, own_metrics, METRICS, NULL);
        if (pipeline->set != NULL) pipeline->rule_counts = weir_rules_counts_new(pipeline->metrics);
        if (pipeline->names == NULL || pipeline->rule_counts == NULL)
            status = weir_fail(err, WEIR_FULL, 0, false, "out of memory");
    }
    if (status == WEIR_OK) status = compile_rules(pipeline, pipeline->boot, err);
    if (status == WEIR_OK) status = read_policies(pipeline, &pipeline->now, err);
    if (status == WEIR_OK) status = build(pipeline, err);
    if (status != WEIR_OK) {
        release(pipeline);
        return status;
    }
    weir_gauge(pipeline->set, BUILD, 1);
    weir_gauge(pipeline->set, LANES, pipeline->lane_count);
    weir_gauge(pipeline->set, RELOAD_OK, 1);
    weir_gauge(pipeline->set, RELOAD_TIME, weir_unix_ns(&weir_clock_system));
    weir_metrics_refresh(pipeline->metrics, pipeline->set, refresh, pipeline);
    atomic_store(&pipeline->life, RUNNING);
    weir_log(WEIR_LOG_INFO, "ready version=%s lanes=%u exporters=%u config=\"%s\"", WEIR_VERSION, pipeline->lane_count,
             pipeline->queue_count, path);
    *out = pipeline;
    return WEIR_OK;
}

/* ---- the end ---- */

void weir_pipeline_stop(struct weir_pipeline *pipeline) {
    pthread_mutex_lock(&pipeline->reloading);
    atomic_store(&pipeline->life, DRAINING);
    pthread_mutex_unlock(&pipeline->reloading);
    uint64_t timeout_ns = pipeline->now.config->drain_timeout_ns;
    uint64_t deadline_ns = weir_mono_ns(&weir_clock_system) + timeout_ns;
    weir_log(WEIR_LOG_INFO, "draining timeout=%.1fs", (double)timeout_ns / 1e9);
    weir_steer_stop(pipeline->steer);
    /* A caller that does not end must not take the queues' time: they have at least the second half of it. */
    weir_lanes_stop(pipeline->lanes, deadline_ns - timeout_ns / 2);
    for (uint32_t i = 0; i < pipeline->queue_count; i++)
        weir_queue_stop(pipeline->queues[i], deadline_ns);
    pipeline->queues_started = 0;
    char path[WEIR_TEXT_MAX + 16];
    struct weir_error why = {0};
    decisions_path(pipeline, path, sizeof path);
    if (path[0] != 0 && weir_lanes_save(pipeline->lanes, path, &why) != WEIR_OK)
        weir_log(WEIR_LOG_WARN, "decisions_not_saved reason=\"%s\"", why.text);
    struct weir_buffer ledger = {0};
    weir_ledger_summary(pipeline->ledger, &ledger);
    weir_buffer_byte(&ledger, 0);
    weir_log(WEIR_LOG_INFO, "stopped %s", ledger.failed ? "" : (const char *)ledger.bytes);
    weir_buffer_free(&ledger);
    release(pipeline);
}
