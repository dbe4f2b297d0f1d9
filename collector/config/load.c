#include "collector/config/load.h"

#include "collector/config/limits.h"
#include "collector/config/lists.h"
#include "collector/config/options.h"
#include "collector/config/values.h"
#include "collector/config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { HEADERS_FILE_BYTES_MAX = 16384, PATH_MAX_SHOWN = 160 };

struct loader {
    struct weir_config *config;
    const struct weir_yaml_doc *doc;
    struct weir_option_env env;
    struct weir_lines lines;
    struct weir_error *err;
};

static size_t option_count(void) {
    size_t count = 0;
    while (weir_options[count].key != NULL)
        count++;
    return count;
}

static void set_default(const struct weir_option *option, void *base, const struct weir_option_env *env) {
    char why[160] = "";
    const struct weir_option_env here = {env->host, ""};
    if (!weir_option_set(option, base, option->fallback, &here, why, sizeof why)) {
        fprintf(stderr, "default of %s %s\n", option->key, why); /* a row of ours is wrong */
        abort();
    }
}

static void set_defaults(struct loader *loader) {
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        if (option->scope == WEIR_SCOPE_TOP) set_default(option, loader->config, &loader->env);
    }
}

/* ---- single keys ---- */

static enum weir_status set_headers(struct loader *loader, const char *path, const struct weir_yaml *node,
                                    struct weir_exporter_config *exporter) {
    char why[160], shown[64];
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: is %s, a map of names and values is needed",
                              path, weir_yaml_kind_name(node->kind));
    }
    for (const struct weir_yaml *child = node->first; child != NULL; child = child->next) {
        weir_yaml_show(child->key, shown, sizeof shown);
        if (child->kind != WEIR_YAML_TEXT) {
            return weir_yaml_fail(loader->doc, child->line, loader->err, "%s.%s: is %s, a single value is needed", path,
                                  shown, weir_yaml_kind_name(child->kind));
        }
        if (!weir_option_add_header(exporter, child->key, child->text, why, sizeof why)) {
            return weir_yaml_fail(loader->doc, child->line, loader->err, "%s: %s %s", path, shown, why);
        }
    }
    return WEIR_OK;
}

static enum weir_status parse_headers_file(struct loader *loader, const char *name, char *text,
                                           struct weir_exporter_config *exporter) {
    char why[160], shown[64], *rest = text;
    for (int line = 1; rest != NULL; line++) {
        char *begin = strsep(&rest, "\n");
        begin[strcspn(begin, "\r")] = 0;
        begin += strspn(begin, " \t");
        if (*begin == 0 || *begin == '#') continue;
        char *colon = strchr(begin, ':');
        if (colon == NULL)
            return weir_fail(loader->err, WEIR_INVALID, 0, false, "%s:%d: not a line of the form `Name: value`", name,
                             line);
        *colon = 0;
        char *value = colon + 1 + strspn(colon + 1, " \t"), *end = value + strlen(value);
        while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
            *--end = 0;
        if (!weir_option_add_header(exporter, begin, value, why, sizeof why)) {
            return weir_fail(loader->err, WEIR_INVALID, 0, false, "%s:%d: %s %s", name, line,
                             weir_yaml_show(begin, shown, sizeof shown), why);
        }
    }
    return WEIR_OK;
}

static enum weir_status set_headers_file(struct loader *loader, const char *key, const struct weir_yaml *node,
                                         struct weir_exporter_config *exporter) {
    char path[1024], text[HEADERS_FILE_BYTES_MAX + 1], name[PATH_MAX_SHOWN];
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_TEXT) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: is %s, a path is needed", key,
                              weir_yaml_kind_name(node->kind));
    }
    if ((size_t)snprintf(path, sizeof path, "%s%s", *node->text == '/' ? "" : loader->env.folder, node->text) >=
        sizeof path) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: the path is too long", key);
    }
    weir_yaml_name(path, name, sizeof name);
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a pipe must not hold the start up */
    struct stat about;
    if (fd < 0 || fstat(fd, &about) != 0) {
        int why = errno;
        if (fd >= 0) close(fd);
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: %s: %s", key, name, strerror(why));
    }
    ssize_t size = S_ISREG(about.st_mode) ? read(fd, text, sizeof text) : -1;
    close(fd);
    if (size < 0)
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: %s is no file that can be read", key, name);
    if ((size_t)size == sizeof text) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: %s is longer than %d bytes", key, name,
                              HEADERS_FILE_BYTES_MAX);
    }
    text[size] = 0;
    enum weir_status status = strlen(text) == (size_t)size ? parse_headers_file(loader, name, text, exporter)
                                                           : weir_yaml_fail(loader->doc, node->line, loader->err,
                                                                            "%s: %s has a NUL byte", key, name);
    explicit_bzero(text, sizeof text);
    return status;
}

/* A list as the text that weir_option_set() reads. */
static enum weir_status join(struct loader *loader, const char *path, const struct weir_yaml *list, char *out,
                             size_t out_size) {
    size_t used = 0;
    *out = 0;
    for (const struct weir_yaml *child = list->first; child != NULL; child = child->next) {
        if (child->kind != WEIR_YAML_TEXT || strchr(child->text, ',') != NULL) {
            return weir_yaml_fail(loader->doc, child->line, loader->err, "%s: an entry is not a single value", path);
        }
        used += (size_t)snprintf(out + used, out_size - used, "%s%s", used == 0 ? "" : ", ", child->text);
        if (used >= out_size)
            return weir_yaml_fail(loader->doc, child->line, loader->err, "%s: the list is too long", path);
    }
    return WEIR_OK;
}

static enum weir_status set(struct loader *loader, const struct weir_option *option, void *base, const char *path,
                            const struct weir_yaml *node) {
    char why[160], shown[64], joined[2048];
    const char *text = node->text;
    if (option->type == WEIR_OPTION_HEADERS) return set_headers(loader, path, node, base);
    if (option->type == WEIR_OPTION_HEADERS_FILE) return set_headers_file(loader, path, node, base);
    bool is_list =
        option->type == WEIR_OPTION_SECONDS || option->type == WEIR_OPTION_NETWORKS || option->type == WEIR_OPTION_URLS;
    if (node->kind == WEIR_YAML_LIST && is_list) {
        enum weir_status status = join(loader, path, node, joined, sizeof joined);
        if (status != WEIR_OK) return status;
        text = joined;
        if (!weir_option_set(option, base, text, &loader->env, why, sizeof why))
            return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: %s", path, why);
        return WEIR_OK;
    }
    bool is_single = !is_list || option->type == WEIR_OPTION_URLS; /* a list of one may be written without brackets */
    if (node->kind == WEIR_YAML_NULL && (option->type == WEIR_OPTION_PATH)) {
        text = "";
    } else if (node->kind != WEIR_YAML_TEXT || !is_single) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: is %s, %s is needed", path,
                              weir_yaml_kind_name(node->kind), is_list ? "a list" : "a single value");
    }
    if (weir_option_set(option, base, text, &loader->env, why, sizeof why)) return WEIR_OK;
    if (weir_option_secret(option))
        return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: the value %s", path, why);
    return weir_yaml_fail(loader->doc, node->line, loader->err, "%s: %s%s%s %s", path,
                          strstr(node->raw, "${") != NULL ? "" : "\"", weir_yaml_show(node->raw, shown, sizeof shown),
                          strstr(node->raw, "${") != NULL ? "" : "\"", why);
}

/* ---- sections ---- */

/* The keys that may follow `prefix` ("" or ending with a dot) in `scope`. */
static size_t known_keys(enum weir_option_scope scope, enum weir_option_scope also, const char *prefix,
                         char names[][48], const char **list, size_t max) {
    size_t count = 0, size = strlen(prefix);
    for (const struct weir_option *option = weir_options; option->key != NULL && count < max; option++) {
        if ((option->scope != scope && option->scope != also) || strncmp(option->key, prefix, size) != 0) continue;
        snprintf(names[count], sizeof names[count], "%.*s", (int)strcspn(option->key + size, "."), option->key + size);
        if (count > 0 && strcmp(names[count - 1], names[count]) == 0) continue;
        list[count] = names[count];
        count++;
    }
    if (scope == WEIR_SCOPE_TOP && *prefix == 0) {
        for (const char *const *name = weir_list_sections; *name != NULL && count < max; name++)
            list[count++] = *name;
        if (count < max) list[count++] = "exporters";
    }
    return count;
}

static enum weir_status unknown(struct loader *loader, const struct weir_yaml *node, enum weir_option_scope scope,
                                enum weir_option_scope also, const char *path, const char *prefix) {
    static const char *const others[] = {"proxies", "collector", "sources", "keep"};
    for (size_t i = 0; *path == 0 && i < sizeof others / sizeof others[0]; i++) {
        if (strcmp(node->key, others[i]) != 0) continue;
        return weir_yaml_fail(loader->doc, node->line, loader->err,
                              "%s: is a key of a sampling policy, a file that `sampling: { policy: FILE }` names",
                              node->key);
    }
    char names[WEIR_OPTIONS_MAX][48];
    const char *list[WEIR_OPTIONS_MAX];
    size_t count = known_keys(scope, also, prefix, names, list, WEIR_OPTIONS_MAX);
    return weir_yaml_unknown(loader->doc, node, path, list, count, loader->err);
}

static const struct weir_option *find_option(enum weir_option_scope scope, enum weir_option_scope also,
                                             const char *key) {
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        if ((option->scope == scope || option->scope == also) && strcmp(option->key, key) == 0) return option;
    }
    return NULL;
}

static bool is_section(const char *path) {
    size_t size = strlen(path);
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        if (option->scope == WEIR_SCOPE_TOP && strncmp(option->key, path, size) == 0 && option->key[size] == '.')
            return true;
    }
    return false;
}

static struct weir_listen *listen_at(struct weir_config *config, const struct weir_listen_option *option) {
    return (struct weir_listen *)(void *)((char *)config + option->offset);
}

static struct weir_listen *receiver_listen(struct weir_config *config, const char *path) {
    if (strncmp(path, "receivers.", 10) != 0) return NULL;
    for (const struct weir_listen_option *option = weir_listen_options; option->section != NULL; option++) {
        if (strcmp(path, option->section) == 0) return listen_at(config, option);
    }
    return NULL;
}

static enum weir_status read_exporters(struct loader *loader, const struct weir_yaml *node);

static enum weir_status read_section(struct loader *loader, const struct weir_yaml *map, const char *path) {
    if (map->kind == WEIR_YAML_NULL) return WEIR_OK; /* everything in it is commented out */
    if (map->kind != WEIR_YAML_MAP) {
        return weir_yaml_fail(loader->doc, map->line, loader->err, "%s%s is %s, a map of keys is needed",
                              *path == 0 ? "the file" : path, *path == 0 ? "" : ":", weir_yaml_kind_name(map->kind));
    }
    for (const struct weir_yaml *node = map->first; node != NULL; node = node->next) {
        char full[160], prefix[160];
        snprintf(prefix, sizeof prefix, "%s%s", path, *path == 0 ? "" : ".");
        bool fits = (size_t)snprintf(full, sizeof full, "%s%s", prefix, node->key) < sizeof full;
        const struct weir_option *option = fits ? find_option(WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, full) : NULL;
        struct weir_listen *listen = receiver_listen(loader->config, full);
        enum weir_status status;
        if (strchr(node->key, '.') != NULL) {
            status = unknown(loader, node, WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, path, prefix);
        } else if (option != NULL) {
            status = set(loader, option, loader->config, full, node);
            loader->lines.top[option - weir_options] = node->line;
        } else if (strcmp(full, "exporters") == 0) {
            status = read_exporters(loader, node);
        } else if (weir_list_is(full)) {
            status = weir_list_read(loader->doc, node, loader->env.folder, loader->config, loader->err);
        } else if (listen != NULL && node->kind == WEIR_YAML_TEXT && strcmp(node->text, "off") == 0) {
            listen->on = false;
            status = WEIR_OK;
        } else if (fits && is_section(full)) {
            status = read_section(loader, node, full);
        } else {
            status = unknown(loader, node, WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, path, prefix);
        }
        if (status != WEIR_OK) return status;
    }
    return WEIR_OK;
}

/* A receiver runs when the file lists it, or when the file has no list of receivers. */
static void place_listener(const struct weir_yaml *root, const char *section, struct weir_listen *listen) {
    const char *dot = strchr(section, '.'), *key = dot == NULL ? NULL : dot + 1;
    const struct weir_yaml *parent = weir_yaml_get(root, key == NULL ? section : "receivers");
    const struct weir_yaml *node = parent == NULL || key == NULL ? parent : weir_yaml_get(parent, key);
    bool listed = key != NULL && parent != NULL && parent->kind == WEIR_YAML_MAP;
    if (listed && node == NULL) listen->on = false;
    const struct weir_yaml *address = node == NULL ? NULL : weir_yaml_get(node, "listen");
    listen->asked = key == NULL ? address != NULL : node != NULL;
    listen->line = address != NULL ? address->line : node != NULL ? node->line : 0;
}

/* ---- exporters ---- */

static bool sound_name(const char *name) {
    return *name != 0 &&
           strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-.") == strlen(name);
}

static enum weir_option_scope scope_of(const char *type, size_t size) {
    for (enum weir_option_scope scope = WEIR_SCOPE_EXPORTER + 1; scope < WEIR_SCOPES; scope++) {
        if (strlen(weir_scope_types[scope]) == size && memcmp(weir_scope_types[scope], type, size) == 0) return scope;
    }
    return WEIR_SCOPE_EXPORTER;
}

static struct weir_exporter_config *add_exporter(struct loader *loader, enum weir_option_scope type, const char *name,
                                                 int line) {
    struct weir_exporter_config *exporter = &loader->config->exporters[loader->config->exporter_count++];
    snprintf(exporter->type, sizeof exporter->type, "%s", weir_scope_types[type]);
    snprintf(exporter->name, sizeof exporter->name, "%s", name);
    exporter->line = line;
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        if (option->scope == WEIR_SCOPE_EXPORTER || option->scope == type) set_default(option, exporter, &loader->env);
    }
    return exporter;
}

static enum weir_status read_exporter(struct loader *loader, const struct weir_yaml *node) {
    char shown[64], path[160];
    weir_yaml_show(node->key, shown, sizeof shown);
    size_t size = strcspn(node->key, "/");
    enum weir_option_scope type = scope_of(node->key, size);
    if (type == WEIR_SCOPE_EXPORTER) {
        if (node->key[size] == 0)
            return weir_yaml_unknown(loader->doc, node, "exporters", &weir_scope_types[WEIR_SCOPE_EXPORTER + 1],
                                     WEIR_SCOPES - WEIR_SCOPE_EXPORTER - 1, loader->err);
        return weir_yaml_fail(loader->doc, node->line, loader->err,
                              "exporters.%s: no exporter has this type; known are file, zipkin, kafka, otlp", shown);
    }
    if (strlen(node->key) >= sizeof loader->config->exporters->name ||
        (node->key[size] == '/' && !sound_name(node->key + size + 1))) {
        return weir_yaml_fail(
            loader->doc, node->line, loader->err,
            "exporters.%s: a name is type or type/name, of letters, digits and _ - . , at most 63 bytes", shown);
    }
    if (loader->config->exporter_count == WEIR_EXPORTERS_MAX) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "exporters.%s: more than %d exporters", shown,
                              WEIR_EXPORTERS_MAX);
    }
    if (node->kind != WEIR_YAML_MAP && node->kind != WEIR_YAML_NULL) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "exporters.%s: is %s, a map of keys is needed",
                              shown, weir_yaml_kind_name(node->kind));
    }
    uint32_t index = loader->config->exporter_count;
    struct weir_exporter_config *exporter = add_exporter(loader, type, node->key, node->line);
    for (const struct weir_yaml *child = node->first; child != NULL; child = child->next) {
        const struct weir_option *option = find_option(WEIR_SCOPE_EXPORTER, type, child->key);
        snprintf(path, sizeof path, "exporters.%s", node->key);
        if (option == NULL) return unknown(loader, child, WEIR_SCOPE_EXPORTER, type, path, "");
        snprintf(path, sizeof path, "exporters.%s.%s", node->key, child->key);
        enum weir_status status = set(loader, option, exporter, path, child);
        if (status != WEIR_OK) return status;
        loader->lines.exporters[index][option - weir_options] = child->line;
    }
    if (type == WEIR_SCOPE_ZIPKIN && *exporter->zipkin.url == 0) {
        return weir_yaml_fail(loader->doc, node->line, loader->err,
                              "exporters.%s.url: is missing, such as http://zipkin:9411/api/v2/spans", node->key);
    }
    if (type == WEIR_SCOPE_KAFKA && *exporter->kafka.brokers == 0) {
        return weir_yaml_fail(loader->doc, node->line, loader->err,
                              "exporters.%s.brokers: is missing, such as kafka:9092", node->key);
    }
    if (type == WEIR_SCOPE_OTLP && *exporter->otlp.endpoints == 0) {
        return weir_yaml_fail(loader->doc, node->line, loader->err,
                              "exporters.%s.endpoints: is missing, such as grpc://gateway:4317", node->key);
    }
    return WEIR_OK;
}

static enum weir_status read_exporters(struct loader *loader, const struct weir_yaml *node) {
    if (node->kind == WEIR_YAML_NULL) return WEIR_OK;
    if (node->kind != WEIR_YAML_MAP) {
        return weir_yaml_fail(loader->doc, node->line, loader->err, "exporters: is %s, a map of keys is needed",
                              weir_yaml_kind_name(node->kind));
    }
    enum weir_status status = WEIR_OK;
    for (const struct weir_yaml *child = node->first; status == WEIR_OK && child != NULL; child = child->next)
        status = read_exporter(loader, child);
    return status;
}

/* ---- the whole ---- */

static enum weir_status build(struct loader *loader, const struct weir_machine *machine, bool has_file) {
    struct weir_config *config = loader->config;
    const struct weir_yaml *root = loader->doc->root;
    set_defaults(loader);
    enum weir_status status = read_section(loader, root, "");
    if (status != WEIR_OK) return status;
    for (const struct weir_listen_option *option = weir_listen_options; option->section != NULL; option++)
        place_listener(root, option->section, listen_at(config, option));
    config->sampling.line =
        loader->lines.top[find_option(WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, "sampling.policy") - weir_options];
    config->sampling.shadow_line =
        loader->lines.top[find_option(WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, "sampling.shadow") - weir_options];
    config->sampling.canary_line =
        loader->lines.top[find_option(WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, "sampling.canary.policy") - weir_options];
    config->spool.line = loader->lines.top[find_option(WEIR_SCOPE_TOP, WEIR_SCOPE_TOP, "spool.durable") - weir_options];
    const struct weir_yaml *exporters = weir_yaml_get(root, "exporters");
    if (exporters == NULL || exporters->kind == WEIR_YAML_NULL) add_exporter(loader, WEIR_SCOPE_FILE, "file", 0);
    weir_config_fit(config, machine, &loader->lines);
    if (!has_file) return WEIR_OK; /* no file is a valid configuration on any machine */
    return weir_config_check(config, machine, loader->doc, &loader->lines, loader->err);
}

enum weir_status weir_config_parse(const char *name, const uint8_t *bytes, size_t size,
                                   const struct weir_machine *machine, struct weir_config **config,
                                   struct weir_error *err) {
    char folder[WEIR_TEXT_MAX];
    if (strlen(name) >= sizeof folder)
        return weir_fail(err, WEIR_INVALID, 0, false, "the path of the configuration is longer than %d bytes",
                         WEIR_TEXT_MAX - 1);
    const char *slash = strrchr(name, '/');
    snprintf(folder, sizeof folder, "%.*s", slash == NULL ? 0 : (int)(slash + 1 - name), name);
    if (!weir_value_host(machine->host)) {
        char shown[64];
        return weir_fail(err, WEIR_INVALID, 0, false, "WEIR_LISTEN_HOST: \"%s\" is not a host, such as 0.0.0.0 or ::",
                         weir_yaml_show(machine->host, shown, sizeof shown));
    }
    struct loader loader = {.env = {machine->host, folder}, .err = err};
    if (option_count() > WEIR_OPTIONS_MAX) abort();
    struct weir_yaml_doc *doc = NULL;
    enum weir_status status = weir_yaml_parse(name, bytes, size, &doc, err);
    if (status != WEIR_OK) return status;
    loader.doc = doc;
    loader.config = calloc(1, sizeof *loader.config);
    if (loader.config == NULL) {
        weir_yaml_free(doc);
        return weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name);
    }
    snprintf(loader.config->path, sizeof loader.config->path, "%s", name);
    status = build(&loader, machine, *name != 0);
    weir_yaml_free(doc);
    if (status != WEIR_OK) {
        weir_config_free(loader.config);
        return status;
    }
    *config = loader.config;
    return WEIR_OK;
}

/* A policy that cannot be read is the fault of the line that names it. */
static enum weir_status look_for_policies(const struct weir_config *config, struct weir_error *err) {
    const struct {
        const char *key, *path;
        int line;
    } all[] = {
        {"sampling.policy", config->sampling.policy, config->sampling.line},
        {"sampling.shadow", config->sampling.shadow, config->sampling.shadow_line},
        {"sampling.canary.policy", config->sampling.canary_policy, config->sampling.canary_line},
    };
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].path[0] == 0 || access(all[i].path, R_OK) == 0) continue;
        return weir_fail(err, WEIR_INVALID, errno, false, "%s:%d: %s: %s", config->path, all[i].line, all[i].key,
                         all[i].path);
    }
    return WEIR_OK;
}

enum weir_status weir_config_load(const char *path, struct weir_config **config, struct weir_error *err) {
    const char *host = getenv("WEIR_LISTEN_HOST");
    struct weir_machine machine = {.host = host == NULL || *host == 0 ? "127.0.0.1" : host};
    machine.lanes = weir_cpu_limit("/sys/fs/cgroup", "/proc/self/cgroup");
    machine.memory_bytes = weir_memory_limit("/sys/fs/cgroup", "/proc/self/cgroup", &machine.memory_what);
    uint8_t *bytes = NULL;
    size_t size = 0;
    if (path == NULL) path = "";
    enum weir_status status = *path == 0 ? WEIR_OK : weir_yaml_read(path, &bytes, &size, err);
    struct weir_config *made = NULL;
    if (status == WEIR_OK) status = weir_config_parse(path, bytes, size, &machine, &made, err);
    free(bytes);
    if (made != NULL) status = look_for_policies(made, err);
    if (status != WEIR_OK) {
        weir_config_free(made);
        return status;
    }
    *config = made;
    return WEIR_OK;
}

void weir_config_free(struct weir_config *config) {
    if (config == NULL) return;
    explicit_bzero(config, sizeof *config); /* headers may be secret */
    free(config);
}

/* ---- what a reload cannot change ---- */

static void name_it(char *out, size_t out_size, const char *format, const char *a, const char *b) {
    size_t used = strlen(out);
    if (used > 0 && used + 2 < out_size) {
        memcpy(out + used, ", ", 3);
        used += 2;
    }
    snprintf(out + used, out_size - used, format, a, b);
}

static const struct weir_exporter_config *find_exporter(const struct weir_config *config, const char *name) {
    for (uint32_t i = 0; i < config->exporter_count; i++) {
        if (strcmp(config->exporters[i].name, name) == 0) return &config->exporters[i];
    }
    return NULL;
}

void weir_config_needs_restart(const struct weir_config *running, const struct weir_config *next, char *out,
                               size_t out_size) {
    *out = 0;
    for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
        if (option->scope != WEIR_SCOPE_TOP || option->live || weir_option_equal(option, running, next)) continue;
        name_it(out, out_size, "%s%s", option->key, "");
    }
    for (uint32_t i = 0; i < next->exporter_count; i++) {
        const struct weir_exporter_config *one = &next->exporters[i], *was = find_exporter(running, one->name);
        if (was == NULL) {
            name_it(out, out_size, "exporters.%s%s", one->name, "");
            continue;
        }
        enum weir_option_scope type = scope_of(one->type, strlen(one->type));
        for (const struct weir_option *option = weir_options; option->key != NULL; option++) {
            if ((option->scope != WEIR_SCOPE_EXPORTER && option->scope != type) || option->live ||
                weir_option_equal(option, was, one))
                continue;
            name_it(out, out_size, "exporters.%s.%s", one->name, option->key);
        }
    }
    for (uint32_t i = 0; i < running->exporter_count; i++) {
        if (find_exporter(next, running->exporters[i].name) == NULL)
            name_it(out, out_size, "exporters.%s%s", running->exporters[i].name, "");
    }
}
