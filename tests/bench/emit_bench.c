/* emit_bench [THREADS [PORT]] - what a call of libweir_emit costs its caller, in nanoseconds of CPU: the
 * median over stretches and threads, as JSON, a row a line.
 * Datagrams go to 127.0.0.1:PORT (default: a socket of its own that nobody reads). */
#include "emitter/weir_emit.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>

enum { STRETCHES = 31, THREADS_MAX = 64 };

struct bench {
    struct weir_emit *emit;
    struct weir_emit_operation *operation;
    struct weir_emit_counter *counter;
    struct weir_emit_histogram *histogram;
    uint64_t calls;    /* in a stretch */
    uint64_t pause_ns; /* between stretches: the emitter's thread drains */
};
struct work {
    const struct bench *bench;
    uint64_t (*stretch)(const struct bench *bench, uint64_t calls, uint64_t seed);
    pthread_barrier_t *barrier;
    double ns[STRETCHES];
    uint64_t sum;
};

/* The thread's own: what else runs on the machine is no cost of a call. */
static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void make_id(uint8_t id[16], uint64_t n) {
    uint64_t high = n * 0x9e3779b97f4a7c15, low = (n + 1) * 0xbf58476d1ce4e5b9;
    memcpy(id, &high, 8);
    memcpy(id + 8, &low, 8);
}

static uint64_t nothing(const struct bench *bench, uint64_t calls, uint64_t seed) {
    uint64_t sum = 0;
    (void)bench;
    for (uint64_t i = 0; i < calls; i++) {
        uint8_t id[16];
        make_id(id, seed + i);
        __asm__ volatile("" : : "r"(id) : "memory");
        sum += id[15];
    }
    return sum;
}

static uint64_t decide(const struct bench *bench, uint64_t calls, uint64_t seed) {
    uint64_t sum = 0, threshold;
    for (uint64_t i = 0; i < calls; i++) {
        uint8_t id[16];
        make_id(id, seed + i);
        __asm__ volatile("" : : "r"(id) : "memory");
        weir_emit_request(bench->operation);
        sum += weir_emit_sampled(bench->operation, id, &threshold);
    }
    return sum;
}

static uint64_t count(const struct bench *bench, uint64_t calls, uint64_t seed) {
    for (uint64_t i = 0; i < calls; i++)
        weir_emit_count(bench->counter, 1);
    return seed;
}

static uint64_t observe(const struct bench *bench, uint64_t calls, uint64_t seed) {
    for (uint64_t i = 0; i < calls; i++)
        weir_emit_observe(bench->histogram, (double)((seed + i * 7919) % 1000) / 1000);
    return seed;
}

static uint64_t read_clock(const struct bench *bench, uint64_t calls, uint64_t seed) {
    (void)bench;
    for (uint64_t i = 0; i < calls; i++)
        seed ^= weir_emit_now();
    return seed;
}

static const char traceparent[] = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

static uint64_t begin_unsampled(const struct bench *bench, uint64_t calls, uint64_t seed) {
    for (uint64_t i = 0; i < calls; i++) {
        struct weir_emit_context context;
        weir_emit_context_clear(&context);
        seed += weir_emit_begin(bench->operation, &context);
    }
    return seed;
}

static uint64_t headers(const struct bench *bench, uint64_t calls, uint64_t seed) {
    char out[WEIR_EMIT_TRACEPARENT_BYTES];
    for (uint64_t i = 0; i < calls; i++) {
        struct weir_emit_context context;
        weir_emit_context_clear(&context);
        weir_emit_read_header(&context, "traceparent", 11, traceparent, sizeof traceparent - 1);
        seed += weir_emit_begin(bench->operation, &context);
        seed += weir_emit_write_traceparent(&context, out);
        __asm__ volatile("" : : "r"(out) : "memory");
    }
    return seed;
}

/* Six attributes, as a proxy has them, and timestamps that it has anyway. */
static uint64_t span(const struct bench *bench, uint64_t calls, uint64_t seed) {
    static const char path[] = "/v2/carts/41c8/items", host[] = "shop.example", peer[] = "10.1.20.7";
    for (uint64_t i = 0; i < calls; i++) {
        uint8_t id[16];
        make_id(id, seed + i);
        const struct weir_emit_attribute attributes[6] = {
            weir_emit_text_n("http.request.method", "GET", 3),
            weir_emit_text_n("url.path", path, sizeof path - 1),
            weir_emit_text_n("server.address", host, sizeof host - 1),
            weir_emit_text_n("network.peer.address", peer, sizeof peer - 1),
            weir_emit_int("http.response.status_code", 200),
            weir_emit_int("http.response.body.size", (int64_t)(seed + i) & 0xffff),
        };
        const struct weir_emit_span one = {
            .size = sizeof one,
            .trace_id = id,
            .span_id = id + 4,
            .start_ns = seed + i * 1000,
            .end_ns = seed + i * 1000 + 500,
            .threshold = UINT64_C(0xe6666666666668),
            .randomness = WEIR_EMIT_UNKNOWN,
            .kind = WEIR_EMIT_SERVER,
            .attributes = attributes,
            .attribute_count = 6,
        };
        weir_emit_span(bench->operation, &one);
    }
    return seed;
}

static void *work(void *argument) {
    struct work *work = argument;
    for (unsigned i = 0; i < STRETCHES; i++) {
        pthread_barrier_wait(work->barrier);
        uint64_t calls = work->bench->calls, start = cpu_ns();
        work->sum += work->stretch(work->bench, calls, start);
        work->ns[i] = (double)(cpu_ns() - start) / (double)calls;
        const struct timespec pause = {.tv_nsec = (long)work->bench->pause_ns};
        nanosleep(&pause, NULL);
    }
    return NULL;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void measure(const char *name, const struct bench *bench, unsigned threads,
                    uint64_t (*stretch)(const struct bench *, uint64_t, uint64_t)) {
    static struct work works[THREADS_MAX];
    static double all[THREADS_MAX * STRETCHES];
    pthread_t ids[THREADS_MAX];
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, threads);
    for (unsigned i = 0; i < threads; i++) {
        works[i] = (struct work){.bench = bench, .stretch = stretch, .barrier = &barrier};
        if (pthread_create(&ids[i], NULL, work, &works[i]) != 0) abort();
    }
    for (unsigned i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        memcpy(all + i * STRETCHES, works[i].ns, sizeof works[i].ns);
    }
    size_t count_all = (size_t)threads * STRETCHES;
    qsort(all, count_all, sizeof *all, by_value);
    printf("{\"call\":\"%s\",\"threads\":%u,\"median_ns\":%.2f,\"p10_ns\":%.2f,\"p90_ns\":%.2f}\n", name, threads,
           all[count_all / 2], all[count_all / 10], all[count_all * 9 / 10]);
    pthread_barrier_destroy(&barrier);
}

static unsigned own_port(void) {
    struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof in;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&in, size) != 0 || getsockname(fd, (struct sockaddr *)&in, &size) != 0)
        abort();
    return ntohs(in.sin_port);
}

int main(int argc, char **argv) {
    unsigned threads = argc > 1 ? (unsigned)atoi(argv[1]) : 1, port = argc > 2 ? (unsigned)atoi(argv[2]) : own_port();
    char to[32], error[128];
    static const double bounds[] = {0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5};
    struct weir_emit_options options;
    if (threads < 1 || threads > THREADS_MAX) return 2;
    snprintf(to, sizeof to, "127.0.0.1:%u", port);
    weir_emit_defaults(&options, sizeof options);
    options.to = to;
    options.service = "bench";
    options.initial_rate = 0;
    options.poll_ms = 0;
    struct bench bench = {.emit = weir_emit_open(&options, error, sizeof error), .calls = 1000000};
    if (bench.emit == NULL) {
        fprintf(stderr, "emit_bench: %s\n", error);
        return 1;
    }
    bench.operation = weir_emit_operation(bench.emit, "GET /v2/carts/{id}/items");
    bench.counter = weir_emit_counter(bench.emit, "bench_calls_total", NULL, 0);
    bench.histogram = weir_emit_histogram(bench.emit, "bench_seconds", NULL, 0, bounds, 12);
    measure("loop", &bench, threads, nothing);
    measure("decide_unsampled_and_count", &bench, threads, decide);
    measure("count", &bench, threads, count);
    measure("observe", &bench, threads, observe);
    measure("clock", &bench, threads, read_clock);
    measure("begin_unsampled", &bench, threads, begin_unsampled);
    measure("headers_in_and_out", &bench, threads, headers);
    bench.calls = 2000; /* less than a ring holds, then time to drain it: nothing is dropped */
    bench.pause_ns = 220 * 1000000;
    measure("span_six_attributes", &bench, threads, span);
    struct weir_emit_stats stats;
    weir_emit_flush(bench.emit, 1000);
    weir_emit_stats(bench.emit, &stats, sizeof stats);
    printf("{\"spans\":%llu,\"dropped\":%llu,\"datagrams\":%llu}\n", (unsigned long long)stats.spans,
           (unsigned long long)(stats.dropped_full + stats.dropped_large), (unsigned long long)stats.datagrams);
    weir_emit_close(bench.emit);
    return 0;
}
