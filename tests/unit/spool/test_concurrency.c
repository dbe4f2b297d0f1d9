/* The limit of batches under way, against a back end of so many workers: it is found, it follows, and it is fair. */
#include "collector/core/clock.h"
#include "collector/spool/concurrency.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { FLYING_MAX = 256 };

/* Workers answer one batch each, in order of arrival. `demand` is how many batches there are to send at any time. */
static struct world {
    struct weir_concurrency limiter;
    uint64_t now_ns, service_ns, random;
    uint32_t workers, demand, flying, answered;
    double noise; /* a batch takes service x (1 +- noise) */
    uint64_t done_ns[FLYING_MAX], sent_ns[FLYING_MAX], free_ns[FLYING_MAX];
    uint64_t latency_sum_ns;
} world;

static void begin(uint32_t most, uint32_t workers, uint64_t service_ns) {
    memset(&world, 0, sizeof world);
    world.now_ns = 1000 * WEIR_S;
    world.workers = workers;
    world.service_ns = service_ns;
    world.demand = FLYING_MAX;
    world.random = 88172645463325252ull;
    weir_concurrency_init(&world.limiter, most);
}

static double rolled(void) { /* 0 to 1 */
    world.random ^= world.random << 13;
    world.random ^= world.random >> 7;
    world.random ^= world.random << 17;
    return (double)(world.random >> 11) / 9007199254740992.0;
}

static void send_what_may_be(void) {
    while (world.flying < world.demand) {
        if (world.flying >= weir_concurrency_limit(&world.limiter)) {
            weir_concurrency_met(&world.limiter);
            return;
        }
        uint32_t best = 0;
        for (uint32_t i = 1; i < world.workers; i++) {
            if (world.free_ns[i] < world.free_ns[best]) best = i;
        }
        uint64_t starts = world.free_ns[best] > world.now_ns ? world.free_ns[best] : world.now_ns;
        double takes = (double)world.service_ns * (1 + world.noise * (2 * rolled() - 1));
        world.free_ns[best] = starts + (uint64_t)takes;
        world.sent_ns[world.flying] = world.now_ns;
        world.done_ns[world.flying++] = world.free_ns[best];
    }
}

static void run_for(uint64_t ns) {
    uint64_t end = world.now_ns + ns;
    world.answered = 0;
    world.latency_sum_ns = 0;
    for (;;) {
        send_what_may_be();
        uint32_t next = 0;
        for (uint32_t i = 1; i < world.flying; i++) {
            if (world.done_ns[i] < world.done_ns[next]) next = i;
        }
        if (world.done_ns[next] > end) break;
        world.now_ns = world.done_ns[next];
        uint64_t latency = world.now_ns - world.sent_ns[next];
        world.flying--;
        world.done_ns[next] = world.done_ns[world.flying];
        world.sent_ns[next] = world.sent_ns[world.flying];
        world.answered++;
        world.latency_sum_ns += latency;
        weir_concurrency_settled(&world.limiter, world.now_ns, latency, true);
        uint32_t limit = weir_concurrency_limit(&world.limiter);
        assert_in_range(limit, 1, world.limiter.most);
    }
    world.now_ns = end;
}

static double throughput(uint64_t ns) { /* of what the workers could do */
    return world.answered / ((double)ns / (double)world.service_ns * world.workers);
}
static double slowness(void) { /* mean latency in service times */
    return (double)world.latency_sum_ns / world.answered / (double)world.service_ns;
}

static void it_finds_what_a_back_end_can_do(void **state) {
    (void)state;
    const uint32_t workers[] = {1, 2, 5, 10, 40};
    for (size_t i = 0; i < 5; i++) {
        for (int noisy = 0; noisy < 2; noisy++) {
            begin(128, workers[i], 20 * WEIR_MS);
            world.noise = noisy * 0.5;
            run_for(60 * WEIR_S);
            run_for(600 * WEIR_S);
            print_message("%u workers, noise %.1f: limit %u, throughput %.3f, latency %.2f\n", workers[i], world.noise,
                          weir_concurrency_limit(&world.limiter), throughput(600 * WEIR_S), slowness());
            assert_true(throughput(600 * WEIR_S) > 0.93);
            assert_true(slowness() < 2.6);
            uint32_t limit = weir_concurrency_limit(&world.limiter);
            assert_in_range(limit, workers[i] * 4 / 10 > 1 ? workers[i] * 4 / 10 : 1, workers[i] * 3);
        }
    }
}

static void it_follows_a_back_end_that_loses_workers(void **state) {
    (void)state;
    begin(128, 20, 20 * WEIR_MS);
    run_for(60 * WEIR_S);
    assert_in_range(weir_concurrency_limit(&world.limiter), 18, 45);
    world.workers = 4;
    memset(world.free_ns, 0, sizeof world.free_ns);
    run_for(20 * WEIR_S);
    assert_in_range(weir_concurrency_limit(&world.limiter), 3, 9);
    run_for(60 * WEIR_S);
    assert_true(throughput(60 * WEIR_S) > 0.9);
    assert_true(slowness() < 2.6);
    world.workers = 20;
    run_for(200 * WEIR_S);
    run_for(60 * WEIR_S);
    assert_true(throughput(60 * WEIR_S) > 0.9);
}

/* Not fuller but slower, as behind a longer way: what it takes now is the new base. */
static void it_does_not_give_up_on_one_that_became_slow(void **state) {
    (void)state;
    begin(64, 10, 10 * WEIR_MS);
    run_for(60 * WEIR_S);
    world.service_ns = 60 * WEIR_MS;
    run_for(300 * WEIR_S);
    run_for(120 * WEIR_S);
    print_message("six times as slow: limit %u, throughput %.3f, latency %.2f\n",
                  weir_concurrency_limit(&world.limiter), throughput(120 * WEIR_S), slowness());
    assert_true(throughput(120 * WEIR_S) > 0.85);
    assert_true(slowness() < 2.6);
}

static void what_is_not_wanted_is_not_granted(void **state) {
    (void)state;
    begin(64, 50, 10 * WEIR_MS);
    world.demand = 3;
    run_for(30 * WEIR_S);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 3);
    world.demand = 12;
    run_for(30 * WEIR_S);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 12);
}

static void failures_halve_it_once_a_window(void **state) {
    (void)state;
    begin(64, 50, 10 * WEIR_MS);
    run_for(10 * WEIR_S);
    uint32_t before = weir_concurrency_limit(&world.limiter);
    assert_true(before >= 32);
    uint64_t now_ns = world.now_ns;
    weir_concurrency_settled(&world.limiter, now_ns, WEIR_MS, false);
    for (int i = 0; i < 3; i++)
        weir_concurrency_settled(&world.limiter, now_ns, 10 * WEIR_MS, true);
    weir_concurrency_settled(&world.limiter, now_ns, WEIR_MS, false);
    assert_in_range(weir_concurrency_limit(&world.limiter), before / 2 - 1, before / 2);
    for (int i = 0; i < 100; i++)
        weir_concurrency_settled(&world.limiter, now_ns += WEIR_S, WEIR_MS, false);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 1);
    world.now_ns = now_ns;
    world.flying = 0;
    memset(world.free_ns, 0, sizeof world.free_ns);
    run_for(30 * WEIR_S);
    assert_true(weir_concurrency_limit(&world.limiter) >= 32);
}

static void a_bound_holds_at_once(void **state) {
    (void)state;
    begin(64, 50, 10 * WEIR_MS);
    run_for(10 * WEIR_S);
    weir_concurrency_bound(&world.limiter, 7);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 7);
    world.flying = 0;
    run_for(10 * WEIR_S);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 7);
    begin(1, 50, 10 * WEIR_MS);
    run_for(100 * WEIR_S);
    assert_int_equal(weir_concurrency_limit(&world.limiter), 1);
    weir_concurrency_settled(&world.limiter, world.now_ns, 0, true);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_finds_what_a_back_end_can_do),
        cmocka_unit_test(it_follows_a_back_end_that_loses_workers),
        cmocka_unit_test(it_does_not_give_up_on_one_that_became_slow),
        cmocka_unit_test(what_is_not_wanted_is_not_granted),
        cmocka_unit_test(failures_halve_it_once_a_window),
        cmocka_unit_test(a_bound_holds_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
