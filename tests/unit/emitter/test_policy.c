/* Which answers are believed. An ask of two operations, 5 and 6, under version 7, has the nonce 42. */
#include "emitter/policy.h"
#include "emitter/weir_emit.h"
#include "tests/unit/emitter/answer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

enum { ASK_BYTES = 1400, OPERATIONS = 16 };
#define HALF (WEIR_EMIT_NEVER / 2)

static struct signing key, other_key;

static struct policy *new_policy(const struct signing *signing) {
    struct policy *policy = calloc(1, sizeof *policy);
    policy->thresholds = calloc(OPERATIONS, sizeof *policy->thresholds);
    policy->operations_max = OPERATIONS;
    policy->signing = signing;
    policy->version = 7;
    policy->threshold = 3;
    policy_round(policy);
    assert_true(policy_asked(policy, 42, 7, 5, 2));
    return policy;
}
static void free_policy(struct policy *policy) {
    free(policy->thresholds);
    free(policy);
}

static struct answer good(void) {
    return (struct answer){.version = 1,
                           .nonce = 42,
                           .policy_version = 8,
                           .threshold = HALF,
                           .thresholds = {0, WEIR_EMIT_NEVER},
                           .count = 2};
}

static enum policy_verdict hear(struct policy *policy, const struct answer *answer, struct policy_news *news) {
    static uint8_t bytes[4096];
    size_t size = answer_write(answer, bytes);
    uint8_t *exact = malloc(size); /* a byte too far is seen by the sanitizer */
    memcpy(exact, bytes, size);
    enum policy_verdict verdict = policy_hear(policy, exact, size, ASK_BYTES, news);
    free(exact);
    return verdict;
}

static void verdict(enum policy_verdict wanted, const struct answer *answer, const struct signing *signing) {
    struct policy *policy = new_policy(signing);
    struct policy_news news;
    assert_int_equal(hear(policy, answer, &news), wanted);
    assert_int_equal(policy->version, wanted == POLICY_TAKEN ? 8 : 7);
    assert_int_equal(policy->threshold, wanted == POLICY_TAKEN ? HALF : 3);
    free_policy(policy);
}

static void taken(void **state) {
    (void)state;
    for (int packed = 0; packed < 2; packed++) {
        struct answer answer = good();
        struct policy *policy = new_policy(NULL);
        struct policy_news news;
        answer.packed = packed;
        assert_int_equal(hear(policy, &answer, &news), POLICY_TAKEN);
        assert_int_equal(news.first, 5);
        assert_int_equal(news.count, 2);
        assert_int_equal(news.thresholds[0], 0);
        assert_int_equal(news.thresholds[1], WEIR_EMIT_NEVER);
        assert_int_equal(policy->version, 8);
        assert_int_equal(policy->threshold, HALF);
        assert_int_equal(hear(policy, &answer, &news), POLICY_NONCE); /* once */
        free_policy(policy);
    }
}

static void refused(void **state) {
    (void)state;
    struct answer answer = good();
    verdict(POLICY_TAKEN, &answer, NULL);
    answer.version = 2;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.nonce = 43;
    verdict(POLICY_NONCE, &answer, NULL);
    answer = good(), answer.nonce = 0;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.policy_version = 7;
    verdict(POLICY_SAME, &answer, NULL);
    answer = good(), answer.policy_version = 0;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.threshold = WEIR_EMIT_NEVER + 1;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.thresholds[1] = UINT64_MAX;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer.packed = true;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.count = 3;
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.count = 32; /* beyond the room there is */
    verdict(POLICY_MALFORMED, &answer, NULL);
    answer = good(), answer.pad = ASK_BYTES;
    verdict(POLICY_LARGE, &answer, NULL);
    answer = good(), answer.count = 1; /* as many as found room */
    verdict(POLICY_TAKEN, &answer, NULL);
    answer = good(), answer.pad = 300; /* of a Weir to come */
    verdict(POLICY_TAKEN, &answer, NULL);
}

static void signatures(void **state) {
    (void)state;
    struct answer answer = good();
    verdict(POLICY_SIGNATURE, &answer, &key);
    answer.signing = &other_key;
    verdict(POLICY_SIGNATURE, &answer, &key);
    verdict(POLICY_TAKEN, &answer, NULL); /* nobody asked for one */
    answer.signing = &key;
    verdict(POLICY_TAKEN, &answer, &key);
    /* Each byte of it is signed. */
    uint8_t bytes[256];
    size_t size = answer_write(&answer, bytes);
    for (size_t i = 0; i < size; i++) {
        struct policy *policy = new_policy(&key);
        struct policy_news news;
        bytes[i] ^= 0x10;
        assert_int_not_equal(policy_hear(policy, bytes, size, ASK_BYTES, &news), POLICY_TAKEN);
        bytes[i] ^= 0x10;
        assert_int_equal(policy_hear(policy, bytes, size, ASK_BYTES, &news), POLICY_TAKEN);
        free_policy(policy);
    }
}

static void cut_short(void **state) {
    (void)state;
    struct answer answer = good();
    uint8_t bytes[256];
    answer.packed = true;
    size_t size = answer_write(&answer, bytes);
    for (size_t cut = 0; cut < size; cut++) {
        struct policy *policy = new_policy(NULL);
        struct policy_news news = {0};
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact, bytes, cut);
        enum policy_verdict verdict = policy_hear(policy, exact, cut, ASK_BYTES, &news);
        /* Cut between two fields it says less, and is whole. */
        assert_true(verdict == POLICY_MALFORMED || (verdict == POLICY_TAKEN && news.count == 0));
        free(exact);
        free_policy(policy);
    }
}

static void late_and_lost(void **state) {
    (void)state;
    struct answer answer = good();
    struct policy *policy = new_policy(NULL);
    struct policy_news news;
    policy_round(policy); /* nobody answered */
    assert_true(policy_asked(policy, 99, 7, 5, 2));
    assert_int_equal(hear(policy, &answer, &news), POLICY_NONCE);
    answer.nonce = 99;
    assert_int_equal(hear(policy, &answer, &news), POLICY_TAKEN);
    assert_int_equal(policy->version, 8);
    free_policy(policy);
}

/* The version is followed when all that was asked is answered by it. */
static void several_asks(void **state) {
    (void)state;
    struct answer first = good(), second = good();
    struct policy *policy = new_policy(NULL);
    struct policy_news news;
    assert_true(policy_asked(policy, 43, 7, 7, 2));
    second.nonce = 43;
    assert_int_equal(hear(policy, &second, &news), POLICY_TAKEN);
    assert_int_equal(news.first, 7);
    assert_int_equal(policy->version, 7);
    assert_int_equal(hear(policy, &first, &news), POLICY_TAKEN);
    assert_int_equal(policy->version, 8);
    policy_round(policy);
    assert_true(policy_asked(policy, 44, 8, 5, 2));
    assert_true(policy_asked(policy, 45, 8, 7, 2));
    first.nonce = 44, first.policy_version = 9; /* the plan changed between the two */
    second.nonce = 45, second.policy_version = 10;
    assert_int_equal(hear(policy, &first, &news), POLICY_TAKEN);
    assert_int_equal(hear(policy, &second, &news), POLICY_TAKEN);
    assert_int_equal(policy->version, 8);
    policy_round(policy);
    for (uint32_t i = 0; i < POLICY_ASKS_MAX; i++)
        assert_true(policy_asked(policy, 100 + i, 8, i, 1));
    assert_false(policy_asked(policy, 1000, 8, 0, 1));
    free_policy(policy);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taken),     cmocka_unit_test(refused),       cmocka_unit_test(signatures),
        cmocka_unit_test(cut_short), cmocka_unit_test(late_and_lost), cmocka_unit_test(several_asks),
    };
    signing_begin(&key, "sixteen bytes or more", 21);
    signing_begin(&other_key, "sixteen bytes or mere", 21);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
