/* The end of a process: what callers are owed finds its way home before the homes are gone. */
#include "collector/spool/log.h"
#include "tests/unit/lane/rig.h"

#include <fcntl.h>
#include <time.h>
#include <unistd.h>

/* ---- a disk that takes its time over a sync ---- */

static sem_t syncing;

static int create(int directory_fd, const char *name) {
    return openat(directory_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
}
static int slow_sync(int fd) {
    sem_post(&syncing);
    nanosleep(&(struct timespec){.tv_nsec = 200 * 1000 * 1000}, NULL);
    return fdatasync(fd);
}
static int remove_name(int directory_fd, const char *name) {
    return unlinkat(directory_fd, name, 0);
}
static const struct weir_log_disk slow_disk = {.create = create,
                                               .write = pwrite,
                                               .truncate = ftruncate,
                                               .sync = slow_sync,
                                               .sync_names = fsync,
                                               .unlink = remove_name};

static _Atomic unsigned delivered;
static void came_home(struct weir_mail *mail) {
    (void)mail;
    delivered++;
}

/* A request whose receipt lives on the loop of the lane that took it, as a receiver's does. */
struct homing {
    struct weir_batch *batch;
    struct weir_receipt receipt;
};
static void offer_homing(struct weir_sink *sink, void *argument) {
    struct homing *homing = argument;
    homing->batch->receipt = &homing->receipt;
    assert_int_equal(sink->spans(sink->self, WEIR_RECEIVER_GRPC, &homing->batch), WEIR_OK);
}

static void a_sync_outlasts_the_lanes(void **state) {
    (void)state;
    char folder[] = "/tmp/weir-end-XXXXXX", command[64];
    assert_non_null(mkdtemp(folder));
    sem_init(&syncing, 0, 0);
    rig_reset(2);
    rig.policy_text = "keep: { rules: [ { name: all } ] }\n";
    rig.journal_folder = folder;
    rig.disk = &slow_disk;
    rig_build();
    rig_start();
    static struct homing homings[2];
    delivered = 0;
    for (uint32_t lane = 0; lane < 2; lane++) {
        struct homing *homing = &homings[lane];
        homing->batch = rig_request(40, 60, "");
        weir_receipt_init(&homing->receipt, weir_loop_mailbox(rig.receivers[lane].loop), came_home, 1);
        rig_on_lane(lane, offer_homing, homing);
    }
    rig_stop(); /* commits; nobody waits for the disk */
    sem_wait(&syncing);
    assert_int_equal(rig_imbalance(), 0);
    rig_free();
    assert_int_equal(delivered, 2);
    sem_destroy(&syncing);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_sync_outlasts_the_lanes)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
