/* Two lanes that write, one of them with series that come and go, and a scraper: to be run under ThreadSanitizer. */
#include "house.h"

#include <pthread.h>
#include <time.h>

enum { ROUNDS = 1000, SERIES = 40 };

/* So that the three come between each other on few cores too. */
static void breathe(long us) {
    nanosleep(&(struct timespec){.tv_nsec = us * 1000}, NULL);
}

struct writer {
    struct house *house;
    uint32_t lane;
    uint64_t taken;
    pthread_t thread;
};

static void *write_points(void *argument) {
    struct writer *writer = argument;
    struct house *house = writer->house;
    struct weir_shard *shard = weir_aggregate_shard(house->aggregate, writer->lane);
    uint32_t service = house_name(house, "web"), operations[SERIES];
    for (int i = 0; i < SERIES; i++) {
        char text[32];
        snprintf(text, sizeof text, "op %d", i);
        operations[i] = house_name(house, text);
    }
    uint64_t now_ns = 1000 * WEIR_S;
    for (uint64_t round = 0; round < ROUNDS; round++) {
        for (uint64_t i = 0; i < SERIES; i++) {
            struct weir_span span = {.trace_lo = round << 8 | i,
                                     .span_id = 7,
                                     .duration_ns = i * WEIR_MS,
                                     .prior = 2,
                                     .service = service,
                                     .operation = operations[i],
                                     .kind = i % 2 ? WEIR_KIND_CLIENT : WEIR_KIND_SERVER,
                                     .parent_id = 7};
            weir_shard_span(shard, &span, now_ns);
            char key[64];
            uint8_t bytes[64];
            /* `passing` is another one every ten rounds, so that old ones are forgotten under the scraper's eyes. */
            const char *format = i % 2 ? "steady|i|%u" : "passing|i|%u|round|%u";
            int size = snprintf(key, sizeof key, format, (unsigned)i, (unsigned)(round / 10));
            for (int b = 0; b < size; b++)
                bytes[b] = key[b] == '|' ? WEIR_KEY_SEPARATOR : (uint8_t)key[b];
            struct weir_point point = {.kind = i % 2 ? WEIR_POINT_COUNT : WEIR_POINT_TIMER,
                                       .value = 1,
                                       .weight = 1,
                                       .key = bytes,
                                       .key_size = (uint32_t)size,
                                       .hash = weir_names_hash(house->names, bytes, (size_t)size)};
            if (weir_shard_point(shard, &point, now_ns) == WEIR_POINT_TAKEN) writer->taken++;
        }
        now_ns += WEIR_S;
        weir_shard_tick(shard, now_ns);
        breathe(100);
    }
    return NULL;
}

static double sum_of(const char *page, const char *family) {
    double sum = 0;
    size_t size = strlen(family);
    for (const char *at = page; at != NULL && *at != 0; at = strchr(at, '\n'), at = at == NULL ? NULL : at + 1) {
        if (strncmp(at, family, size) != 0 || at[size] != '{') continue;
        const char *value = strchr(at, '}');
        assert_non_null(value);
        sum += strtod(value + 1, NULL);
    }
    return sum;
}

struct scraper {
    struct house *house;
    _Atomic bool stop;
    uint64_t pages;
    bool went_down, counts_differ;
};

static void *scrape(void *argument) {
    struct scraper *scraper = argument;
    double calls = 0, steady = 0;
    do { /* once at least, whoever the machine runs first */
        const char *page = house_page(scraper->house);
        double calls_now = sum_of(page, "traces_spanmetrics_calls_total"), steady_now = sum_of(page, "steady_total");
        if (calls_now < calls || steady_now < steady) scraper->went_down = true;
        calls = calls_now;
        steady = steady_now;
        double infinite = 0;
        for (const char *at = strstr(page, "\ntraces_spanmetrics_latency_bucket{"); at != NULL;
             at = strstr(at + 1, "\ntraces_spanmetrics_latency_bucket{")) {
            const char *end = strchr(at + 1, '\n'), *le = strstr(at, "le=\"+Inf\"}");
            if (le != NULL && le < end) infinite += strtod(le + 10, NULL);
        }
        if (infinite != sum_of(page, "traces_spanmetrics_latency_count")) scraper->counts_differ = true;
        scraper->pages++;
        breathe(500);
    } while (!atomic_load(&scraper->stop));
    return NULL;
}

static void totals_are_exact_and_never_go_down(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.idle_expiry_ns = 20 * WEIR_S;
    struct house *house = house_open(&config, 2);
    struct writer writers[2] = {{.house = house, .lane = 0}, {.house = house, .lane = 1}};
    struct scraper scraper = {.house = house};
    pthread_t scraping;
    assert_int_equal(pthread_create(&scraping, NULL, scrape, &scraper), 0);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_points, &writers[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i].thread, NULL);
    atomic_store(&scraper.stop, true);
    pthread_join(scraping, NULL);
    assert_true(scraper.pages > 0);
    assert_false(scraper.went_down);
    assert_false(scraper.counts_differ);
    assert_int_equal(writers[0].taken, ROUNDS * SERIES);
    assert_int_equal(writers[1].taken, ROUNDS * SERIES);
    const char *page = house_page(house);
    assert_double(sum_of(page, "traces_spanmetrics_calls_total"), 2.0 * 2 * ROUNDS * SERIES, "calls", __FILE__,
                  __LINE__);
    assert_double(sum_of(page, "steady_total"), 2.0 * ROUNDS * SERIES / 2, "steady", __FILE__, __LINE__);
    assert_true(house_own(house, "weir_series_expired_total") > 0);
    house_close(house);
}

/* Both lanes meet a metric for the first time, again and again, as different types: one of them wins, and both know it.
 */
static void *claim_names(void *argument) {
    struct writer *writer = argument;
    for (int i = 0; i < 300; i++) {
        char key[32];
        snprintf(key, sizeof key, "name_%d", i);
        struct weir_point point = {
            .kind = writer->lane == 0 ? WEIR_POINT_COUNT : WEIR_POINT_TIMER, .value = 1, .weight = 1};
        if (house_point_on(writer->house, writer->lane, key, point) == WEIR_POINT_TAKEN) writer->taken++;
    }
    return NULL;
}

static void the_first_type_wins(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    struct house *house = house_open(&config, 2);
    struct writer writers[2] = {{.house = house, .lane = 0}, {.house = house, .lane = 1}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(pthread_create(&writers[i].thread, NULL, claim_names, &writers[i]), 0);
    for (int i = 0; i < 2; i++)
        pthread_join(writers[i].thread, NULL);
    assert_int_equal(writers[0].taken + writers[1].taken, 300);
    assert_int_equal(weir_aggregate_series(house->aggregate), 300);
    house_close(house);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(totals_are_exact_and_never_go_down),
        cmocka_unit_test(the_first_type_wins),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
