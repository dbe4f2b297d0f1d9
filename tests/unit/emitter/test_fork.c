/* Fork: a child is a sender of its own, with ids of its own, and sends nothing of the parent's. */
#include "tests/unit/emitter/peer.h"

#include <sys/resource.h>
#include <sys/wait.h>

/* Its thread has begun, and waits. A thread that begins asks AddressSanitizer's allocator for memory, whose locks no
 * fork takes (libsanitizer of GCC 12): a child that comes while it holds one waits for ever. */
static struct weir_emit *waiting_emitter(struct peer *peer, struct weir_emit_options *options) {
    struct weir_emit *emit = peer_emitter(peer, options);
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS));
    return emit;
}

static void a_child_is_a_sender_of_its_own(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* ThreadSanitizer has no threads in children of a process that had some ("dup thread with used id") */
#endif
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = waiting_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    struct weir_emit_span span = peer_span();
    for (unsigned i = 0; i < 10; i++) {
        weir_emit_request(operation);
        assert_true(weir_emit_span(operation, &span));
    }
    pid_t child = fork();
    if (child == 0) {
        bool good = true;
        for (unsigned i = 0; i < 3; i++) {
            weir_emit_request(operation);
            good = good && weir_emit_span(operation, &span);
        }
        good = good && weir_emit_flush(emit, PEER_PATIENCE_MS);
        weir_emit_close(emit);
        _exit(good ? 0 : 1);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 3);
    uint64_t sender = peer.sender;
    assert_int_equal(peer.batch->span_count, 3);
    assert_true(weir_emit_flush(emit, PEER_PATIENCE_MS));
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 13);
    assert_int_equal(peer.batch->span_count, 13);
    assert_int_equal(peer.senders, 2);
    assert_int_not_equal(peer.sender, sender);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* A child that calls nothing opens nothing, and its end is its own. */
static void a_child_that_is_silent(void **state) {
    (void)state;
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = waiting_emitter(&peer, &options);
    weir_emit_request(weir_emit_operation(emit, "GET /"));
    pid_t child = fork();
    if (child == 0) {
        weir_emit_close(emit);
        _exit(0);
    }
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    assert_false(peer_hear(&peer, 100));
    weir_emit_close(emit);
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 1);
    peer_close(&peer);
}

/* Where the first call finds no descriptor, a later one may. */
static int without_descriptors(struct weir_emit *emit, struct weir_emit_operation *operation) {
    struct rlimit before, none;
    if (getrlimit(RLIMIT_NOFILE, &before) != 0) return 1;
    none = before, none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    weir_emit_request(operation);
    bool flushed = weir_emit_flush(emit, PEER_PATIENCE_MS);
    setrlimit(RLIMIT_NOFILE, &before);
    if (flushed) return 2;
    weir_emit_request(operation);
    return weir_emit_flush(emit, PEER_PATIENCE_MS) ? 0 : 3;
}

static void a_child_without_descriptors(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* as above */
#endif
    struct weir_emit_options options = peer_options();
    struct peer peer;
    peer_open(&peer);
    struct weir_emit *emit = waiting_emitter(&peer, &options);
    struct weir_emit_operation *operation = weir_emit_operation(emit, "GET /");
    pid_t child = fork();
    if (child == 0) _exit(without_descriptors(emit, operation));
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    peer_hear_until(&peer, "emitter_requests_total|operation|GET /|service|cart", 2);
    weir_emit_close(emit);
    peer_close(&peer);
}

/* ---- ids ---- */

enum { CHILDREN = 3, IDS = 4 };

static void draw_ids(struct weir_emit *emit, uint64_t ids[IDS]) {
    for (unsigned i = 0; i < IDS; i++)
        weir_emit_random(emit, &ids[i], sizeof ids[i]);
}

/* As servers do that open before they fork: nobody has called anything, and each has the same place. */
static void children_draw_other_ids(void **state) {
    (void)state;
#ifdef __SANITIZE_THREAD__
    skip(); /* as above */
#endif
    struct weir_emit_options options = peer_options();
    struct peer peer;
    uint64_t ids[CHILDREN + 1][IDS];
    peer_open(&peer);
    struct weir_emit *emit = waiting_emitter(&peer, &options);
    for (unsigned i = 0; i < CHILDREN; i++) {
        int ends[2];
        assert_int_equal(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            draw_ids(emit, ids[i]);
            _exit(write(ends[1], ids[i], sizeof ids[i]) == sizeof ids[i] ? 0 : 1);
        }
        close(ends[1]); /* so that a child that dies is the end of what is read */
        assert_int_equal(read(ends[0], ids[i], sizeof ids[i]), sizeof ids[i]);
        assert_int_equal(waitpid(child, NULL, 0), child);
        close(ends[0]);
    }
    draw_ids(emit, ids[CHILDREN]);
    const uint64_t *all = ids[0];
    for (unsigned i = 0; i < (CHILDREN + 1) * IDS; i++) {
        for (unsigned k = 0; k < i; k++)
            assert_true(all[i] != all[k]);
    }
    weir_emit_close(emit);
    peer_close(&peer);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_child_is_a_sender_of_its_own),
        cmocka_unit_test(a_child_that_is_silent),
        cmocka_unit_test(a_child_without_descriptors),
        cmocka_unit_test(children_draw_other_ids),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
