/* Files that are kept: a real board, real files, real commands; time is the test's. */
#include "collector/core/replace.h"
#include "collector/steer/files.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[64];
static struct rig {
    uint64_t now_ns;
    struct weir_clock clock;
    struct weir_names *names;
    struct weir_metrics *metrics;
    struct weir_steering *steering;
    struct weir_config config;
    struct weir_files *files;
} rig;

static uint64_t now(void *self) {
    (void)self;
    return rig.now_ns;
}

static int begin(void **state) {
    (void)state;
    memset(&rig, 0, sizeof rig);
    snprintf(folder, sizeof folder, "/tmp/weir-files-XXXXXX");
    rig.now_ns = 1000 * WEIR_S;
    rig.clock = (struct weir_clock){now, now, NULL};
    rig.names = weir_names_new(1024, 1 << 20);
    rig.metrics = weir_metrics_new();
    rig.steering = weir_steering_new(rig.names, rig.metrics, &rig.clock);
    return mkdtemp(folder) != NULL && rig.steering != NULL ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char command[128];
    weir_files_free(rig.files);
    weir_steering_free(rig.steering);
    weir_metrics_free(rig.metrics);
    weir_names_free(rig.names);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static const char *at(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

/* `command` is printed with the folder in place of %s. */
static struct weir_render_config *entry(const char *name, const char *command) {
    struct weir_render_config *render = &rig.config.renders[rig.config.render_count++];
    *render = (struct weir_render_config){
        .kind = WEIR_RENDER_OTEL_ENV, .timeout_ns = 30 * WEIR_S, .min_interval_ns = 10 * WEIR_S};
    snprintf(render->path, sizeof render->path, "%s/%s", folder, name);
    for (const char *at = command, *hole; *at != 0; at = hole) {
        hole = strstr(at, "%s");
        size_t size = hole == NULL ? strlen(at) : (size_t)(hole - at), used = strlen(render->command);
        snprintf(render->command + used, sizeof render->command - used, "%.*s%s", (int)size, at,
                 hole == NULL ? "" : folder);
        hole = hole == NULL ? at + size : hole + 2;
    }
    return render;
}

static void open_files(void) {
    rig.files = weir_files_new(&rig.config, rig.names, rig.metrics, &rig.clock, rig.steering);
    assert_non_null(rig.files);
}

static void publish(double rate) {
    struct weir_plan_service fallback = {.rate = {.rate = rate}, .max_traces_per_second = -1};
    struct weir_plan *plan = weir_plan_new(rig.names, 1, &fallback, NULL, 0);
    assert_non_null(plan);
    weir_steering_publish(rig.steering, plan, NULL, 0, false, NULL);
    weir_plan_unref(plan);
}

static void tick(uint64_t seconds) {
    rig.now_ns += seconds * WEIR_S;
    weir_files_tick(rig.files);
}

static bool says(const char *name, const char *rate) {
    char text[4096] = "", line[64];
    FILE *file = fopen(at(name), "r");
    if (file == NULL) return false;
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    snprintf(line, sizeof line, "\nOTEL_TRACES_SAMPLER_ARG=%s\n", rate);
    return size > 0 && strstr(text, line) != NULL;
}

/* By name and `result` or `state`. */
static double metric(const char *row) {
    struct weir_buffer page = {0};
    weir_metrics_expose(rig.metrics, &page);
    weir_buffer_byte(&page, 0);
    double sum = 0;
    for (char *line = strtok((char *)page.bytes, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        const char *brace = strchr(line, '{');
        char name[128], result[64] = "";
        if (line[0] == '#' || brace == NULL) continue;
        const char *label = strstr(line, "result=\"") != NULL ? strstr(line, "result=\"") : strstr(line, "state=\"");
        if (label != NULL) sscanf(strchr(label, '"'), "\"%63[a-z]", result);
        snprintf(name, sizeof name, "%.*s%s%s", (int)(brace - line), line, result[0] != 0 ? " " : "", result);
        if (strcmp(name, row) == 0) sum += atof(strrchr(line, ' '));
    }
    weir_buffer_free(&page);
    return sum;
}

/* Ticks, while time stands, until a command that runs has ended. */
static void settle(const char *row, double until) {
    uint64_t deadline_ns = weir_mono_ns(&weir_clock_system) + 300 * WEIR_S;
    while (metric(row) < until) {
        if (weir_mono_ns(&weir_clock_system) > deadline_ns) fail_msg("%s never came to %g", row, until);
        nanosleep(&(struct timespec){.tv_nsec = 2000000}, NULL);
        tick(0);
    }
}

static void follower_is(const char *rate) {
    struct weir_buffer out = {0};
    char part[64];
    weir_steering_write(rig.steering, &out);
    weir_buffer_byte(&out, 0);
    snprintf(part, sizeof part, "\"rate\":%s", rate == NULL ? "" : rate);
    if ((strstr((char *)out.bytes, "\"way\":\"file\"") != NULL && strstr((char *)out.bytes, part) != NULL) !=
        (rate != NULL))
        fail_msg("%s", (char *)out.bytes);
    weir_buffer_free(&out);
}

static void written_when_another_plan_is_in_force(void **state) {
    (void)state;
    entry("otel.env", "");
    open_files();
    tick(1);
    assert_int_equal(access(at("otel.env"), F_OK), -1); /* nobody is told anything */
    publish(0.5);
    tick(1);
    assert_true(says("otel.env", "0.5"));
    follower_is("0.5");
    for (int i = 0; i < 30; i++)
        tick(1);
    assert_true(metric("weir_policy_files_total written") == 1);
    publish(0.25);
    tick(1);
    assert_true(says("otel.env", "0.25"));
    assert_true(metric("weir_policy_files_total written") == 2);
    assert_true(metric("weir_policy_file_written_timestamp_seconds") == (double)rig.now_ns / 1e9);
    weir_steering_publish(rig.steering, NULL, NULL, 0, false, NULL);
    tick(20);
    assert_true(says("otel.env", "0.25")); /* who is told nothing keeps what it has */
}

static void not_more_often_than_it_may(void **state) {
    (void)state;
    entry("otel.env", "");
    open_files();
    publish(0.5);
    tick(1);
    static const double later[] = {0.1, 0.2, 0.3};
    for (int i = 0; i < 3; i++) {
        publish(later[i]);
        tick(3);
        assert_true(says("otel.env", "0.5"));
        assert_true(metric("weir_policy_file_pending") == 1);
    }
    tick(1);
    assert_true(says("otel.env", "0.3")); /* the latest */
    assert_true(metric("weir_policy_files_total written") == 2);
    assert_true(metric("weir_policy_file_pending") == 0);
}

/* There and back within the interval: nothing is to be done. */
static void back_again(void **state) {
    (void)state;
    entry("otel.env", "echo x >> %s/ran");
    open_files();
    publish(0.5);
    tick(1);
    settle("weir_policy_file_commands_total ok", 1);
    publish(0.1);
    tick(1);
    publish(0.5);
    tick(20);
    assert_true(metric("weir_policy_files_total written") == 1);
    assert_true(metric("weir_policy_file_pending") == 0);
    assert_true(weir_file_has(at("ran"), "x\n", 2));
}

static void a_start_with_the_file_there_disturbs_nobody(void **state) {
    (void)state;
    entry("otel.env", "echo x >> %s/ran");
    open_files();
    publish(0.5);
    tick(1);
    settle("weir_policy_file_commands_total ok", 1);
    weir_files_free(rig.files);
    open_files();
    tick(1);
    follower_is("0.5");
    assert_true(metric("weir_policy_files_total written") == 0); /* of this one */
    assert_true(weir_file_has(at("ran"), "x\n", 2));
}

static void told_when_the_command_has_run(void **state) {
    (void)state;
    entry("otel.env", "cp %s/otel.env %s/seen; [ -e %s/go ]");
    open_files();
    publish(0.5);
    tick(1);
    settle("weir_policy_file_commands_total failed", 1);
    assert_true(says("seen", "0.5"));
    follower_is(NULL);
    assert_true(metric("weir_policy_file_pending") == 1);
    for (int i = 0; i < 9; i++)
        tick(1);
    settle("weir_policy_file_commands_total failed", 1);
    tick(1); /* again after min_interval */
    settle("weir_policy_file_commands_total failed", 2);
    tick(19); /* then after twice as long */
    assert_true(metric("weir_policy_file_commands_total failed") == 2);
    FILE *go = fopen(at("go"), "w");
    fclose(go);
    tick(1);
    settle("weir_policy_file_commands_total ok", 1);
    follower_is("0.5");
    assert_true(metric("weir_policy_file_pending") == 0);
    tick(1000);
    assert_true(metric("weir_policy_file_commands_total ok") == 1);
}

static void a_command_that_hangs_holds_up_only_its_file(void **state) {
    (void)state;
    entry("slow.env", "sleep 600");
    entry("otel.env", "");
    open_files();
    publish(0.5);
    tick(1);
    publish(0.25);
    tick(20);
    assert_true(says("otel.env", "0.25"));
    assert_true(says("slow.env", "0.5")); /* its command may be reading it */
    tick(10);
    assert_true(metric("weir_policy_file_commands_total timeout") == 1);
    assert_true(says("slow.env", "0.25"));
}

static void a_write_that_fails_is_tried_again(void **state) {
    (void)state;
    entry("sub/otel.env", "");
    assert_int_equal(mkdir(at("sub"), 0755), 0);
    open_files();
    publish(0.5);
    tick(1);
    assert_true(says("sub/otel.env", "0.5"));
    assert_int_equal(rename(at("sub"), at("away")), 0);
    publish(0.25);
    tick(10);
    assert_true(metric("weir_policy_files_total failed") == 1);
    assert_true(metric("weir_policy_file_pending") == 1);
    assert_true(says("away/otel.env", "0.5"));
    assert_int_equal(rename(at("away"), at("sub")), 0);
    tick(9);
    assert_true(metric("weir_policy_files_total failed") == 1);
    tick(1);
    assert_true(says("sub/otel.env", "0.25"));
    assert_true(metric("weir_policy_files_total written") == 2);
}

static void a_reload(void **state) {
    (void)state;
    entry("a.env", "");
    entry("b.env", "");
    open_files();
    publish(0.5);
    tick(1);
    assert_true(metric("weir_policy_files_total written") == 2);
    rig.config.render_count = 1; /* b goes, c comes, a stays */
    entry("c.env", "");
    assert_true(metric("weir_policy_followers gone") == 0);
    assert_true(weir_files_set(rig.files, &rig.config));
    assert_true(metric("weir_policy_followers gone") == 1);
    publish(0.25);
    tick(1);
    assert_true(says("a.env", "0.5")); /* its ten seconds are not over */
    assert_true(says("b.env", "0.5"));
    assert_true(says("c.env", "0.25"));
    tick(10);
    assert_true(says("a.env", "0.25"));
    assert_true(says("b.env", "0.5")); /* nobody's any more */
    rig.config.render_count = 0;
    assert_true(weir_files_set(rig.files, &rig.config));
    tick(10);
    assert_true(metric("weir_policy_files_total written") == 0); /* with their series */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(written_when_another_plan_is_in_force, begin, end),
        cmocka_unit_test_setup_teardown(not_more_often_than_it_may, begin, end),
        cmocka_unit_test_setup_teardown(back_again, begin, end),
        cmocka_unit_test_setup_teardown(a_start_with_the_file_there_disturbs_nobody, begin, end),
        cmocka_unit_test_setup_teardown(told_when_the_command_has_run, begin, end),
        cmocka_unit_test_setup_teardown(a_command_that_hangs_holds_up_only_its_file, begin, end),
        cmocka_unit_test_setup_teardown(a_write_that_fails_is_tried_again, begin, end),
        cmocka_unit_test_setup_teardown(a_reload, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
