#include "collector/core/replace.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

static char folder[64];

static const char *at(const char *name) {
    static char paths[4][128];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static int begin(void **state) {
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/weir-replace-XXXXXX");
    return mkdtemp(folder) != NULL ? 0 : -1;
}

static int end(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command);
}

static void replaces(const char *path, const char *text) {
    struct weir_error err = {0};
    if (weir_file_replace(path, text, strlen(text), &err) != WEIR_OK) fail_msg("%s", err.text);
    assert_true(weir_file_has(path, text, strlen(text)));
}

static mode_t mode_of(const char *path) {
    struct stat about;
    assert_int_equal(stat(path, &about), 0);
    return about.st_mode & 07777;
}

static int count(void) {
    int names = 0;
    DIR *dir = opendir(folder);
    for (struct dirent *one = readdir(dir); one != NULL; one = readdir(dir))
        names += one->d_name[0] != '.';
    closedir(dir);
    return names;
}

static void content_and_rights(void **state) {
    (void)state;
    umask(077); /* a proxy of another user has to read it */
    replaces(at("a"), "one");
    assert_int_equal(mode_of(at("a")), 0644);
    assert_int_equal(chmod(at("a"), 0640), 0);
    if (geteuid() == 0) assert_int_equal(chown(at("a"), 12345, 54321), 0);
    replaces(at("a"), "two, which is longer");
    assert_int_equal(mode_of(at("a")), 0640);
    struct stat about;
    assert_int_equal(stat(at("a"), &about), 0);
    if (geteuid() == 0) assert_true(about.st_uid == 12345 && about.st_gid == 54321);
    replaces(at("a"), "");
    assert_int_equal(count(), 1);
}

/* Who has the old one open reads it to its end. */
static void readers_see_one_or_the_other(void **state) {
    (void)state;
    char text[8] = "";
    replaces(at("a"), "old");
    FILE *reader = fopen(at("a"), "r");
    replaces(at("a"), "new");
    assert_int_equal(fread(text, 1, sizeof text, reader), 3);
    assert_string_equal(text, "old");
    fclose(reader);
}

static void a_link_stays(void **state) {
    (void)state;
    struct stat about;
    replaces(at("target"), "old");
    assert_int_equal(symlink("target", at("link")), 0);
    replaces(at("link"), "new");
    assert_int_equal(lstat(at("link"), &about), 0);
    assert_true(S_ISLNK(about.st_mode));
    assert_true(weir_file_has(at("target"), "new", 3));
}

static void what_cannot_be(void **state) {
    (void)state;
    struct weir_error err = {0};
    assert_int_equal(weir_file_replace(at("no/a"), "x", 1, &err), WEIR_IO);
    assert_int_equal(err.sys, ENOENT);
    assert_non_null(strstr(err.text, "no/a"));
    assert_int_equal(mkdir(at("dir"), 0755), 0);
    assert_int_equal(weir_file_replace(at("dir"), "x", 1, &err), WEIR_IO);
    assert_int_equal(weir_file_replace("", "x", 1, &err), WEIR_IO);
    assert_int_equal(count(), 1); /* nothing half made is left behind */
}

static void has_just_these_bytes(void **state) {
    (void)state;
    replaces(at("a"), "bytes");
    assert_false(weir_file_has(at("a"), "byte", 4));
    assert_false(weir_file_has(at("a"), "bytes!", 6));
    assert_false(weir_file_has(at("a"), "bytez", 5));
    assert_false(weir_file_has(at("b"), "bytes", 5));
    assert_false(weir_file_has(folder, "", 0));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(content_and_rights, begin, end),
        cmocka_unit_test_setup_teardown(readers_see_one_or_the_other, begin, end),
        cmocka_unit_test_setup_teardown(a_link_stays, begin, end),
        cmocka_unit_test_setup_teardown(what_cannot_be, begin, end),
        cmocka_unit_test_setup_teardown(has_just_these_bytes, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
