/* weir_proxy - a small reverse proxy for HTTP/1.1 that is traced and counted by libweir_emit. README.md beside it. */
#include "examples/proxy/server.h"

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

enum { THREADS_MAX = 64 };

static const char help[] =
    "usage: weir_proxy --listen ADDRESS --to ADDRESS [options]       addresses are numeric: 127.0.0.1:8080, "
    "[::1]:8080\n"
    "  --listen ADDRESS     where clients come\n"
    "  --to ADDRESS         where their requests go\n"
    "  --weir ADDRESS       where spans and counters go (127.0.0.1:4319)\n"
    "  --no-tracing         nowhere\n"
    "  --service NAME       service.name of all that is told (proxy)\n"
    "  --route PATH         names an operation, as /orders/{id} or /assets/*; up to 30\n"
    "  --rate SHARE         of requests whose trace begins here, until Weir has told one: 0 to 1 (0.01)\n"
    "  --poll MS            how often Weir is asked what to sample; 0: never (2000)\n"
    "  --key FILE           datagrams are signed\n"
    "  --statsd ADDRESS     three packets a request, as a plain StatsD client sends them\n"
    "  --turns N            measures what telling costs: it is off and on by turns of N requests, and the CPU of a\n"
    "                       request is told at the end; of one thread, SIGUSR1 is not for then\n"
    "  --threads N          1 to 64 (1)\n"
    "  --connections N      of clients, each thread (1024)\n"
    "  --request-timeout MS  a request has to be there and upstream connected (10000)\n"
    "  --answer-timeout MS   upstream says nothing, or a client takes nothing (30000)\n"
    "  --idle-timeout MS     between two requests of a client (60000)\n";

struct options {
    struct server_options server;
    struct telemetry_options telemetry;
    const char *routes[TELEMETRY_ROUTES_MAX];
};

struct worker {
    pthread_t thread;
    struct server server;
    const atomic_bool *stop;
};

static void *run(void *argument) {
    struct worker *worker = argument;
    server_run(&worker->server, worker->stop);
    return NULL;
}

/* ---- options ---- */

enum {
    LISTEN,
    TO,
    WEIR,
    NO_TRACING,
    SERVICE,
    ROUTE,
    RATE,
    POLL,
    KEY,
    STATSD,
    TURNS,
    THREADS,
    CONNECTIONS,
    REQUEST,
    ANSWER,
    IDLE,
    HELP
};
static const struct option long_options[] = {
    {"listen", required_argument, NULL, LISTEN},
    {"to", required_argument, NULL, TO},
    {"weir", required_argument, NULL, WEIR},
    {"no-tracing", no_argument, NULL, NO_TRACING},
    {"service", required_argument, NULL, SERVICE},
    {"route", required_argument, NULL, ROUTE},
    {"rate", required_argument, NULL, RATE},
    {"poll", required_argument, NULL, POLL},
    {"key", required_argument, NULL, KEY},
    {"statsd", required_argument, NULL, STATSD},
    {"turns", required_argument, NULL, TURNS},
    {"threads", required_argument, NULL, THREADS},
    {"connections", required_argument, NULL, CONNECTIONS},
    {"request-timeout", required_argument, NULL, REQUEST},
    {"answer-timeout", required_argument, NULL, ANSWER},
    {"idle-timeout", required_argument, NULL, IDLE},
    {"help", no_argument, NULL, HELP},
    {0},
};

static bool read_number(const char *text, uint32_t least, uint32_t most, uint32_t *number) {
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    *number = (uint32_t)value;
    return *text >= '0' && *text <= '9' && *end == 0 && value >= least && value <= most;
}

static bool read_share(const char *text, double *share) {
    char *end;
    *share = strtod(text, &end);
    return end != text && *end == 0 && *share >= 0 && *share <= 1;
}

static bool take_option(struct options *o, int which, const char *text) {
    struct telemetry_options *t = &o->telemetry;
    switch (which) {
    case LISTEN: return address_read(&o->server.listen, text);
    case TO: snprintf(t->to, sizeof t->to, "%s", text); return address_read(&o->server.to, text);
    case WEIR: t->weir = text; return true;
    case NO_TRACING: t->weir = NULL; return true;
    case SERVICE: t->service = text; return true;
    case ROUTE:
        if (t->route_count == TELEMETRY_ROUTES_MAX || text[0] != '/') return false;
        o->routes[t->route_count++] = text;
        return true;
    case RATE: return read_share(text, &t->rate);
    case POLL: return read_number(text, 0, 3600000, &t->poll_ms);
    case KEY: t->key_file = text; return true;
    case STATSD: t->statsd = text; return true;
    case TURNS: return read_number(text, 1, 1000000, &o->server.turn_requests);
    case THREADS: return read_number(text, 1, THREADS_MAX, &t->threads);
    case CONNECTIONS: return read_number(text, 1, 65536, &o->server.connections_max);
    case REQUEST: return read_number(text, 1, 3600000, &o->server.request_ms);
    case ANSWER: return read_number(text, 1, 3600000, &o->server.answer_ms);
    case IDLE: return read_number(text, 1, 3600000, &o->server.idle_ms);
    default: return false;
    }
}

/* 0: go on; else the exit status and one more. */
static int read_options(struct options *o, int argc, char **argv) {
    int which, index = 0;
    *o = (struct options){
        .server = {.connections_max = 1024, .idle_ms = 60000, .request_ms = 10000, .answer_ms = 30000},
        .telemetry = {.weir = "127.0.0.1:4319", .service = "proxy", .rate = 0.01, .poll_ms = 2000, .threads = 1},
    };
    o->server.upstream_idle_ms = 15000;
    while ((which = getopt_long(argc, argv, "", long_options, &index)) != -1) {
        if (which == HELP) {
            fputs(help, stdout);
            return 1;
        }
        if (take_option(o, which, optarg)) continue;
        if (which != '?') fprintf(stderr, "weir_proxy: --%s %s: cannot be\n", long_options[index].name, optarg);
        return 3;
    }
    o->telemetry.routes = o->routes;
    bool one = o->server.turn_requests == 0 || o->telemetry.threads == 1;
    if (optind == argc && o->server.listen.size > 0 && o->server.to.size > 0 && one) return 0;
    fputs(help, stderr);
    return 3;
}

/* ---- running ---- */

/* Opens all of them before one runs: a port that is taken is told at once. How many were opened. */
static unsigned open_workers(struct worker *workers, const struct options *o, struct telemetry *telemetry,
                             const atomic_bool *stop) {
    char error[200];
    for (unsigned i = 0; i < o->telemetry.threads; i++) {
        workers[i].stop = stop;
        if (server_open(&workers[i].server, &o->server, telemetry, error, sizeof error)) continue;
        fprintf(stderr, "weir_proxy: %s\n", error);
        return i;
    }
    return o->telemetry.threads;
}

static void run_workers(struct worker *workers, unsigned count, const sigset_t *signals, struct telemetry *telemetry,
                        atomic_bool *stop) {
    unsigned running = 0;
    int signal = 0;
    while (running < count && pthread_create(&workers[running].thread, NULL, run, &workers[running]) == 0)
        running++;
    while (running == count && sigwait(signals, &signal) == 0 && signal == SIGUSR1)
        telemetry_turn(telemetry);
    atomic_store(stop, true);
    for (unsigned i = 0; i < running; i++)
        pthread_join(workers[i].thread, NULL);
}

int main(int argc, char **argv) {
    struct options options;
    char error[200];
    int status = read_options(&options, argc, argv);
    if (status != 0) return status - 1;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGUSR1);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    struct worker *workers = calloc(options.telemetry.threads, sizeof *workers);
    struct telemetry *telemetry = telemetry_open(&options.telemetry, error, sizeof error);
    if (telemetry == NULL || workers == NULL) {
        fprintf(stderr, "weir_proxy: %s\n", telemetry == NULL ? error : "no memory");
        free(workers);
        return 1;
    }
    atomic_bool stop = false;
    unsigned opened = open_workers(workers, &options, telemetry, &stop);
    bool sound = opened == options.telemetry.threads;
    if (sound) run_workers(workers, opened, &signals, telemetry, &stop);
    if (sound) turns_tell(&workers[0].server.turns, stdout);
    for (unsigned i = 0; i < opened; i++)
        server_close(&workers[i].server);
    telemetry_close(telemetry, stdout);
    free(workers);
    return sound ? 0 : 1;
}
