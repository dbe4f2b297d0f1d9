#include "collector/emit/emit.h"

#include "collector/emit/client.h"
#include "collector/emit/datagram.h"
#include "collector/emit/report.h"
#include "collector/emit/statsd.h"
#include "collector/emit/truth.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static volatile sig_atomic_t stop_asked;

static void on_signal(int number) {
    (void)number;
    stop_asked = 1;
}

/* The first Ctrl-C ends the load and waits for answers; the second has its usual effect. */
static void watch_signals(void) {
    struct sigaction action = {.sa_flags = (int)SA_RESETHAND};
    action.sa_handler = on_signal;
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

static void on_tick(void *self, uint64_t now_ns) {
    weir_emit_report_progress(self, now_ns);
}

static int run(const struct weir_emit_options *options) {
    struct weir_error err = {0};
    struct weir_emit_play play;
    struct weir_emit_statsd statsd = {.fd = -1};
    struct weir_emit_counts counts = {0};
    enum weir_status status = weir_emit_play_init(&play, options, &err);
    if (status != WEIR_OK) {
        fprintf(stderr, "weir emit: %s\n", err.text);
        return 1;
    }
    if (options->statsd.on) {
        status = weir_emit_statsd_open(&statsd, &options->statsd, &play.mesh, &err);
        play.watcher = (struct weir_emit_watcher){.self = &statsd, .request = weir_emit_statsd_request};
    }
    struct weir_emit_report report = {
        .options = options, .play = &play, .counts = &counts, .statsd = options->statsd.on ? &statsd : NULL};
    bool progress = !options->quiet && isatty(STDERR_FILENO);
    struct weir_emit_client_watch watch = {.stop = &stop_asked, .self = &report, .tick = progress ? on_tick : NULL};
    bool ran = status == WEIR_OK;
    if (ran) {
        watch_signals();
        status = options->via == WEIR_EMIT_DATAGRAM ? weir_emit_datagram_run(options, &play, &watch, &counts, &err)
                                                    : weir_emit_client_run(options, &play, &watch, &counts, &err);
        if (options->statsd.on) weir_emit_statsd_flush(&statsd);
        weir_emit_report_clear(&report);
        if (options->json) {
            weir_emit_report_json(&report);
        } else if (status == WEIR_OK || counts.sent > 0) {
            weir_emit_report_text(&report);
        }
    }
    if (status != WEIR_OK) fprintf(stderr, "weir emit: %s\n", err.text);
    if (ran && options->truth != NULL && weir_emit_truth_write(&play.truth, options, &err) != WEIR_OK) {
        fprintf(stderr, "weir emit: %s\n", err.text);
        status = WEIR_IO;
    }
    weir_emit_statsd_close(&statsd);
    weir_emit_play_free(&play);
    bool lost = counts.refused + counts.rejected + counts.unknown > 0 && !options->allow_refused;
    if (fflush(stdout) != 0 || ferror(stdout)) status = WEIR_IO;
    return status == WEIR_OK && !lost ? 0 : 1;
}

int weir_emit_main(int argc, char **argv) {
    struct weir_emit_options options;
    struct weir_error err = {0};
    bool help;
    if (weir_emit_options_parse(argc, argv, &options, &help, &err) != WEIR_OK) {
        fprintf(stderr, "weir emit: %s\n`weir emit --help` lists the options\n", err.text);
        return 2;
    }
    if (help) {
        weir_emit_options_print();
        return 0;
    }
    return run(&options);
}
