/* rates.c - the rates in force, as the JSON of a plan (sample/plan_json.h), in a file that outlives the process. */
#include "collector/decode/json.h"
#include "collector/sample/plan_json.h"
#include "collector/steer/inside.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RATES_BYTES_MAX = 16 << 20 };

static enum weir_status write_all(int fd, const struct weir_buffer *text, const char *path, struct weir_error *err) {
    for (size_t at = 0; at < text->size;) {
        ssize_t wrote = write(fd, text->bytes + at, text->size - at);
        if (wrote < 0 && errno == EINTR) continue;
        if (wrote < 0) return weir_fail(err, WEIR_IO, errno, false, "%s", path);
        at += (size_t)wrote;
    }
    return fsync(fd) == 0 ? WEIR_OK : weir_fail(err, WEIR_IO, errno, false, "%s", path);
}

enum weir_status weir_rates_save(const char *path, const struct weir_plan *plan, const struct weir_names *names,
                                 struct weir_error *err) {
    char beside[4096 + 8];
    struct weir_buffer text = {.limit = RATES_BYTES_MAX};
    weir_plan_write(plan, names, &text);
    snprintf(beside, sizeof beside, "%s.new", path);
    if (text.failed) {
        weir_buffer_free(&text);
        return weir_fail(err, WEIR_FULL, ENOMEM, false, "%s", path);
    }
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    enum weir_status status =
        fd < 0 ? weir_fail(err, WEIR_IO, errno, false, "%s", beside) : write_all(fd, &text, beside, err);
    if (fd >= 0) close(fd);
    if (status == WEIR_OK && rename(beside, path) != 0) status = weir_fail(err, WEIR_IO, errno, false, "%s", path);
    weir_buffer_free(&text);
    return status;
}

/* ---- reading ---- */

struct reading {
    struct weir_json json;
    struct weir_names *names;
    void (*adopt)(void *self, uint32_t service, uint32_t operation, double rate);
    void *self;
};

/* WEIR_NAME_NONE: no name, or one too many. */
static uint32_t read_name(struct reading *reading) {
    struct weir_json_text text;
    uint8_t name[WEIR_NAME_BYTES_MAX * 6];
    if (!weir_json_string(&reading->json, &text) || text.size > sizeof name) return WEIR_NAME_NONE;
    return weir_names_intern(reading->names, name, weir_json_unescape(&text, name));
}

static void take_rate(const struct reading *reading, uint32_t service, uint32_t operation, double rate) {
    if (service != WEIR_NAME_OVERFLOW && operation != WEIR_NAME_OVERFLOW && rate >= 0 && rate <= 1)
        reading->adopt(reading->self, service, operation, rate);
}

static void read_operation(struct reading *reading, uint32_t service) {
    struct weir_json_text key;
    uint32_t operation = WEIR_NAME_NONE;
    double rate = -1;
    weir_json_object(&reading->json);
    while (weir_json_key(&reading->json, &key)) {
        if (weir_json_is(&key, "operation"))
            operation = read_name(reading);
        else if (weir_json_is(&key, "rate"))
            weir_json_double(&reading->json, &rate);
        else
            weir_json_skip(&reading->json);
    }
    if (operation != WEIR_NAME_NONE) take_rate(reading, service, operation, rate);
}

/* weir_plan_write() has a service's name and rate before its operations. The default is one without a name. */
static void read_service(struct reading *reading, bool named) {
    struct weir_json_text key;
    uint32_t service = WEIR_NAME_NONE;
    double rate = -1;
    weir_json_object(&reading->json);
    while (weir_json_key(&reading->json, &key)) {
        if (weir_json_is(&key, "service")) {
            service = read_name(reading);
        } else if (weir_json_is(&key, "rate")) {
            weir_json_double(&reading->json, &rate);
        } else if (weir_json_is(&key, "operations") && service != WEIR_NAME_NONE) {
            weir_json_array(&reading->json);
            while (weir_json_element(&reading->json))
                read_operation(reading, service);
        } else {
            weir_json_skip(&reading->json);
        }
    }
    if (named == (service != WEIR_NAME_NONE)) take_rate(reading, service, WEIR_NAME_NONE, rate);
}

static void read_plan(struct reading *reading) {
    struct weir_json_text key;
    weir_json_object(&reading->json);
    while (weir_json_key(&reading->json, &key)) {
        if (weir_json_is(&key, "default")) {
            read_service(reading, false);
            continue;
        }
        if (!weir_json_is(&key, "services")) {
            weir_json_skip(&reading->json);
            continue;
        }
        weir_json_array(&reading->json);
        while (weir_json_element(&reading->json))
            read_service(reading, true);
    }
}

static enum weir_status read_file(const char *path, struct weir_buffer *text, struct weir_error *err) {
    FILE *file = fopen(path, "re");
    if (file == NULL && errno == ENOENT) return WEIR_OK;
    if (file == NULL) return weir_fail(err, WEIR_IO, errno, false, "%s", path);
    uint8_t bytes[4096];
    for (size_t got; (got = fread(bytes, 1, sizeof bytes, file)) > 0;)
        weir_buffer_put(text, bytes, got);
    int failed = ferror(file);
    fclose(file);
    if (failed) return weir_fail(err, WEIR_IO, EIO, false, "%s", path);
    return text->failed ? weir_fail(err, WEIR_INVALID, 0, false, "%s: too large", path) : WEIR_OK;
}

enum weir_status weir_rates_load(const char *path, struct weir_names *names,
                                 void (*adopt)(void *self, uint32_t service, uint32_t operation, double rate),
                                 void *self, struct weir_error *err) {
    struct weir_buffer text = {.limit = RATES_BYTES_MAX};
    enum weir_status status = read_file(path, &text, err);
    if (status == WEIR_OK && text.size > 0) {
        struct reading reading = {weir_json_of(text.bytes, text.size), names, adopt, self};
        read_plan(&reading);
        if (reading.json.why != NULL)
            status = weir_fail(err, WEIR_INVALID, 0, false, "%s: byte %zu: %s", path,
                               (size_t)(reading.json.at - reading.json.start), reading.json.why);
    }
    weir_buffer_free(&text);
    return status;
}
