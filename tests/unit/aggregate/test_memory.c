/* Each allocation fails in turn: nothing crashes, nothing leaks, and what was taken is on the page.
 * Not under a sanitizer or valgrind, which have allocators of their own. */
#include "house.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
int main(void) {
    puts("skipped: the sanitizer allocates");
    return 0;
}
#else

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *block, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *block);

/* Volatile: a compiler that sees the whole program takes for granted that malloc and free write no variable of it. */
static volatile bool armed, ever_after;
static volatile uint64_t until; /* allocations that still succeed */
static volatile uint64_t failures;

static bool fails(void) {
    if (!armed) return false;
    if (until > 0) {
        until--;
        return false;
    }
    if (!ever_after) armed = false;
    failures++;
    return true;
}
static volatile int64_t outstanding; /* blocks; this program has one thread */

static void *counted(void *block) {
    outstanding += block != NULL;
    return block;
}
void *malloc(size_t size) {
    return fails() ? NULL : counted(__libc_malloc(size));
}
void *calloc(size_t count, size_t size) {
    return fails() ? NULL : counted(__libc_calloc(count, size));
}
void *aligned_alloc(size_t alignment, size_t size) {
    return fails() ? NULL : counted(__libc_memalign(alignment, size));
}
void *realloc(void *block, size_t size) {
    if (block == NULL) return malloc(size);
    return fails() ? NULL : __libc_realloc(block, size);
}
void free(void *block) {
    outstanding -= block != NULL;
    __libc_free(block);
}

enum { KEYS = 150 };

struct keys {
    uint8_t text[KEYS][48];
    uint32_t size[KEYS];
    uint64_t hash[KEYS];
};

/* Counters that were taken stand on the page with what they were given; everything else may be refused as
 * WEIR_POINT_REFUSED_FULL. */
static bool live(struct house *house, const struct keys *keys, const struct weir_span *spans, uint32_t span_count) {
    uint64_t now_ns = 1000 * WEIR_S, taken = 0;
    struct weir_shard *shard = weir_aggregate_shard(house->aggregate, 0);
    const double bounds[] = {1, 10};
    const uint64_t counts[] = {1, 2, 3};
    struct weir_point_data data = {
        .bounds = (const uint8_t *)bounds, .counts = (const uint8_t *)counts, .bound_count = 2};
    for (uint32_t i = 0; i < KEYS; i++) {
        struct weir_point point = {.value = 1,
                                   .weight = 1,
                                   .member = i,
                                   .data = &data,
                                   .key = keys->text[i],
                                   .key_size = keys->size[i],
                                   .hash = keys->hash[i]};
        const enum weir_point_kind kinds[] = {WEIR_POINT_COUNT, WEIR_POINT_TIMER, WEIR_POINT_SET, WEIR_POINT_HISTOGRAM,
                                              WEIR_POINT_SUMMARY};
        point.kind = (uint8_t)kinds[i % 5];
        point.cumulative = point.kind == WEIR_POINT_HISTOGRAM;
        for (uint64_t member = 0; member < (point.kind == WEIR_POINT_SET ? 300u : 1u); member++) {
            point.member = (member + 1) * 0x9e3779b97f4a7c15ull;
            enum weir_point_verdict verdict = weir_shard_point(shard, &point, now_ns);
            if (verdict != WEIR_POINT_TAKEN && verdict != WEIR_POINT_REFUSED_FULL) return false;
            if (verdict == WEIR_POINT_TAKEN && point.kind == WEIR_POINT_COUNT) taken++;
        }
    }
    for (uint32_t i = 0; i < span_count; i++)
        weir_shard_span(shard, &spans[i], now_ns);
    weir_shard_tick(shard, now_ns + 11 * WEIR_S);
    weir_buffer_clear(&house->page);
    weir_aggregate_expose(house->aggregate, false, &house->page);
    armed = false;
    double sum = 0;
    const char *page = house_page(house);
    for (const char *at = strstr(page, "\nc_total{"); at != NULL; at = strstr(at + 1, "\nc_total{"))
        sum += strtod(strchr(at + 1, ' '), NULL);
    weir_shard_tick(shard, now_ns + 7200 * WEIR_S);
    return sum == (double)taken && weir_aggregate_series(house->aggregate) == 0;
}

static void each_allocation_fails_in_turn(void **state) {
    (void)state;
    struct weir_aggregate_config config = house_config();
    config.series_per_metric_max = 20; /* so that it folds as well */
    uint64_t tried = 0;
    for (ever_after = false;; ever_after = true) {
        for (uint64_t n = 0;; n++) {
            int64_t before = outstanding;
            struct house house = {.names = weir_names_new(1000, 1 << 20), .metrics = weir_metrics_new(), .lanes = 1};
            static struct keys keys;
            const char *metrics[] = {"c", "t", "s", "h", "q"};
            for (uint32_t i = 0; i < KEYS; i++) {
                keys.size[i] = (uint32_t)snprintf((char *)keys.text[i], sizeof keys.text[i], "%s%ci%c%u",
                                                  metrics[i % 5], WEIR_KEY_SEPARATOR, WEIR_KEY_SEPARATOR, i);
                keys.hash[i] = weir_names_hash(house.names, keys.text[i], keys.size[i]);
            }
            struct weir_span spans[100];
            for (uint32_t i = 0; i < 100; i++) {
                char name[16];
                spans[i] = (struct weir_span){
                    .trace_lo = i + 1,
                    .span_id = 7,
                    .prior = 2,
                    .kind = WEIR_KIND_CLIENT,
                    .service = house_name(&house, "web"),
                    .peer = house_name(&house, "db"),
                    .operation = weir_names_intern(house.names, name, (size_t)snprintf(name, sizeof name, "op %u", i))};
            }
            failures = 0;
            until = n;
            armed = true;
            house.aggregate = weir_aggregate_new(&config, 1, house.names, house.metrics, &weir_clock_system);
            bool sound = house.aggregate == NULL || live(&house, &keys, spans, 100);
            armed = false;
            weir_aggregate_free(house.aggregate);
            weir_metrics_free(house.metrics);
            weir_names_free(house.names);
            weir_buffer_free(&house.page);
            if (!sound) print_error("allocation %u, %s\n", (unsigned)n, ever_after ? "and all behind it" : "alone");
            assert_true(sound);
            assert_int_equal(outstanding, before);
            if (failures == 0) break; /* n was more than there are */
            tried++;
        }
        if (ever_after) break;
    }
    assert_true(tried > 300);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_allocation_fails_in_turn)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
#endif
