#include "collector/config/yaml.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <yaml.h>

struct block {
    struct block *next;
    size_t used, size;
    _Alignas(16) char bytes[];
};

struct reader {
    yaml_parser_t parser;
    struct weir_yaml_doc *doc;
    struct weir_error *err;
    uint32_t nodes;
    struct level {
        struct weir_yaml *node;
        struct weir_yaml **end; /* where the next child goes */
        const char *key;        /* MAP: read, waiting for its value */
        int key_line;
    } levels[WEIR_YAML_DEPTH_MAX];
    unsigned depth;
};

static void *take(struct weir_yaml_doc *doc, size_t size) {
    size = (size + 15) & ~(size_t)15;
    struct block *block = doc->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > 16384 ? size : 16384;
        block = malloc(sizeof *block + room);
        if (block == NULL) return NULL;
        *block = (struct block){.next = doc->blocks, .size = room};
        doc->blocks = block;
    }
    void *bytes = block->bytes + block->used;
    block->used += size;
    return bytes;
}

static char *copy(struct weir_yaml_doc *doc, const char *text, size_t size) {
    char *out = take(doc, size + 1);
    if (out == NULL) return NULL;
    memcpy(out, text, size);
    out[size] = 0;
    return out;
}

enum weir_status(weir_yaml_fail)(const struct weir_yaml_doc *doc, int line, struct weir_error *err, const char *format,
                                 ...) {
    char reason[sizeof err->text];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    (void)weir_fail(err, WEIR_INVALID, 0, false, "%s:%d: %s", doc->name, line, reason);
    return WEIR_INVALID;
}

static enum weir_status no_memory(const struct reader *reader) {
    (void)weir_fail(reader->err, WEIR_FULL, ENOMEM, true, "%s", reader->doc->name);
    return WEIR_FULL;
}

const char *weir_yaml_show(const char *text, char *out, size_t out_size) {
    size_t limit = out_size - 4 < 40 ? out_size - 4 : 40, size = strlen(text);
    bool cut = size > limit;
    if (cut) {
        size = limit;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80)
            size--;
    }
    for (size_t i = 0; i < size; i++)
        out[i] = (unsigned char)text[i] < 0x20 || text[i] == 0x7f ? '?' : text[i];
    memcpy(out + size, cut ? "..." : "", cut ? 4 : 1);
    return out;
}

const char *weir_yaml_kind_name(enum weir_yaml_kind kind) {
    switch (kind) {
    case WEIR_YAML_NULL: return "nothing";
    case WEIR_YAML_TEXT: return "a single value";
    case WEIR_YAML_LIST: return "a list";
    case WEIR_YAML_MAP: return "a map";
    }
    return "?";
}

/* One variable: `text` stands behind "${env:". Its value goes to out[*used..]. */
static enum weir_status put_variable(const struct reader *reader, const struct weir_yaml *node, const char *text,
                                     const char *end, char *out, size_t *used) {
    int line = node->line;
    const char *fallback = NULL;
    size_t name_size = (size_t)(end - text);
    for (const char *p = text; p + 1 < end; p++) {
        if (p[0] == ':' && p[1] == '-') {
            fallback = p + 2;
            name_size = (size_t)(p - text);
            break;
        }
    }
    char name[128], shown[64];
    if (name_size == 0 || name_size >= sizeof name) {
        return weir_yaml_fail(reader->doc, line, reader->err,
                              "${env:...} needs the name of a variable of at most 127 bytes");
    }
    memcpy(name, text, name_size);
    name[name_size] = 0;
    const char *value = getenv(name);
    size_t size = value == NULL ? 0 : strlen(value);
    if (size == 0 && fallback != NULL) { /* as in the shell, `:-` also stands in for an empty one */
        value = fallback;
        size = (size_t)(end - fallback);
    }
    if (value == NULL) {
        char key[64];
        return weir_yaml_fail(reader->doc, line, reader->err,
                              "%s%sthe environment variable %s is not set (${env:NAME:-default} gives it a default)",
                              node->key == NULL ? "" : weir_yaml_show(node->key, key, sizeof key),
                              node->key == NULL ? "" : ": ", weir_yaml_show(name, shown, sizeof shown));
    }
    if (size >= WEIR_YAML_VALUE_MAX - *used) {
        return weir_yaml_fail(reader->doc, line, reader->err,
                              "a value is longer than %d bytes once its variables are replaced",
                              WEIR_YAML_VALUE_MAX - 1);
    }
    memcpy(out + *used, value, size);
    *used += size;
    return WEIR_OK;
}

static enum weir_status replace_variables(const struct reader *reader, struct weir_yaml *node) {
    if (strstr(node->raw, "${") == NULL) {
        node->text = node->raw;
        return WEIR_OK;
    }
    char out[WEIR_YAML_VALUE_MAX];
    size_t used = 0;
    for (const char *p = node->raw; *p != 0;) {
        if (used + 2 >= sizeof out) {
            return weir_yaml_fail(reader->doc, node->line, reader->err,
                                  "a value with variables is longer than %d bytes", WEIR_YAML_VALUE_MAX - 1);
        }
        if (strncmp(p, "$${", 3) == 0) {
            memcpy(out + used, "${", 2);
            used += 2;
            p += 3;
        } else if (strncmp(p, "${env:", 6) == 0) {
            const char *end = strchr(p, '}');
            if (end == NULL) return weir_yaml_fail(reader->doc, node->line, reader->err, "${env: is not closed by }");
            enum weir_status status = put_variable(reader, node, p + 6, end, out, &used);
            if (status != WEIR_OK) return status;
            p = end + 1;
        } else if (strncmp(p, "${", 2) == 0) {
            return weir_yaml_fail(reader->doc, node->line, reader->err,
                                  "only ${env:NAME} is known; write $${ for a literal ${");
        } else {
            out[used++] = *p++;
        }
    }
    node->text = copy(reader->doc, out, used);
    return node->text == NULL ? no_memory(reader) : WEIR_OK;
}

static int by_key(const void *a, const void *b) {
    const struct weir_yaml *const *x = a, *const *y = b;
    int order = strcmp((*x)->key, (*y)->key);
    return order != 0 ? order : ((*x)->line > (*y)->line) - ((*x)->line < (*y)->line);
}

/* Sorted, so that a map of a hundred thousand keys does not take a hundred thousand squared steps. */
static enum weir_status check_duplicates(const struct reader *reader, const struct weir_yaml *map) {
    if (map->count < 2) return WEIR_OK;
    const struct weir_yaml **sorted = malloc(map->count * sizeof(*sorted));
    if (sorted == NULL) return no_memory(reader);
    uint32_t count = 0;
    for (const struct weir_yaml *child = map->first; child != NULL; child = child->next)
        sorted[count++] = child;
    qsort(sorted, count, sizeof(*sorted), by_key);
    const struct weir_yaml *first = NULL, *again = NULL;
    for (uint32_t i = 1; i < count; i++) {
        if (strcmp(sorted[i - 1]->key, sorted[i]->key) != 0) continue;
        if (again == NULL || sorted[i]->line < again->line) {
            first = sorted[i - 1];
            again = sorted[i];
        }
    }
    free((void *)sorted);
    if (again == NULL) return WEIR_OK;
    char shown[64];
    return weir_yaml_fail(reader->doc, again->line, reader->err, "%s: given twice, first at line %d",
                          weir_yaml_show(again->key, shown, sizeof shown), first->line);
}

static int line_of(const yaml_event_t *event) {
    return (int)event->start_mark.line + 1;
}

static bool is_null(const yaml_event_t *event) {
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE) return false;
    const char *text = (const char *)event->data.scalar.value;
    return *text == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0;
}

/* Hangs a new node into the innermost open map or list, or makes it the root. */
static enum weir_status add(struct reader *reader, const yaml_event_t *event, enum weir_yaml_kind kind,
                            struct weir_yaml **out) {
    if (++reader->nodes > WEIR_YAML_NODES_MAX) {
        return weir_yaml_fail(reader->doc, line_of(event), reader->err, "more than %d values in one file",
                              WEIR_YAML_NODES_MAX);
    }
    struct weir_yaml *node = take(reader->doc, sizeof *node);
    if (node == NULL) return no_memory(reader);
    *node = (struct weir_yaml){.kind = kind, .line = line_of(event)};
    if (reader->depth == 0) {
        reader->doc->root = node;
    } else {
        struct level *level = &reader->levels[reader->depth - 1];
        if (level->node->kind == WEIR_YAML_MAP) {
            node->key = level->key;
            node->line = level->key_line;
            level->key = NULL;
        }
        *level->end = node;
        level->end = &node->next;
        level->node->count++;
    }
    *out = node;
    return WEIR_OK;
}

static enum weir_status open_level(struct reader *reader, const yaml_event_t *event, enum weir_yaml_kind kind) {
    if (reader->depth > 0) {
        const struct level *level = &reader->levels[reader->depth - 1];
        if (level->node->kind == WEIR_YAML_MAP && level->key == NULL) {
            return weir_yaml_fail(reader->doc, line_of(event), reader->err,
                                  "a key is %s; keys are single values (quote what begins with { or [)",
                                  weir_yaml_kind_name(kind));
        }
    }
    if (reader->depth == WEIR_YAML_DEPTH_MAX) {
        return weir_yaml_fail(reader->doc, line_of(event), reader->err, "nested deeper than %d", WEIR_YAML_DEPTH_MAX);
    }
    struct weir_yaml *node = NULL;
    enum weir_status status = add(reader, event, kind, &node);
    if (status == WEIR_OK) reader->levels[reader->depth++] = (struct level){.node = node, .end = &node->first};
    return status;
}

static enum weir_status scalar(struct reader *reader, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    size_t size = event->data.scalar.length;
    int line = line_of(event);
    if (memchr(text, 0, size) != NULL)
        return weir_yaml_fail(reader->doc, line, reader->err, "a NUL character in a value");
    struct level *level = reader->depth == 0 ? NULL : &reader->levels[reader->depth - 1];
    if (level != NULL && level->node->kind == WEIR_YAML_MAP && level->key == NULL) {
        if (is_null(event)) return weir_yaml_fail(reader->doc, line, reader->err, "a key is empty");
        level->key = copy(reader->doc, text, size);
        level->key_line = line;
        return level->key == NULL ? no_memory(reader) : WEIR_OK;
    }
    struct weir_yaml *node = NULL;
    enum weir_status status = add(reader, event, is_null(event) ? WEIR_YAML_NULL : WEIR_YAML_TEXT, &node);
    if (status != WEIR_OK || node == NULL || node->kind == WEIR_YAML_NULL) return status;
    node->raw = copy(reader->doc, text, size);
    if (node->raw == NULL) return no_memory(reader);
    return replace_variables(reader, node);
}

static const yaml_char_t *tag_of(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT: return event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT: return event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT: return event->data.mapping_start.tag;
    default: return NULL;
    }
}

static enum weir_status take_event(struct reader *reader, const yaml_event_t *event, bool *seen) {
    if (tag_of(event) != NULL)
        return weir_yaml_fail(reader->doc, line_of(event), reader->err,
                              "YAML tags (!...) are not supported; quote the value");
    switch (event->type) {
    case YAML_DOCUMENT_START_EVENT:
        if (*seen)
            return weir_yaml_fail(reader->doc, line_of(event), reader->err,
                                  "a second document (---) begins here; one is allowed");
        *seen = true;
        return WEIR_OK;
    case YAML_ALIAS_EVENT:
        return weir_yaml_fail(reader->doc, line_of(event), reader->err,
                              "YAML aliases (*name) are not supported; quote the value");
    case YAML_SCALAR_EVENT: return scalar(reader, event);
    case YAML_SEQUENCE_START_EVENT: return open_level(reader, event, WEIR_YAML_LIST);
    case YAML_MAPPING_START_EVENT: return open_level(reader, event, WEIR_YAML_MAP);
    case YAML_SEQUENCE_END_EVENT: reader->depth--; return WEIR_OK;
    case YAML_MAPPING_END_EVENT: reader->depth--; return check_duplicates(reader, reader->levels[reader->depth].node);
    default: return WEIR_OK;
    }
}

static enum weir_status broken(const struct reader *reader) {
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR) return no_memory(reader);
    const char *problem = parser->problem == NULL ? "broken" : parser->problem;
    if (parser->error == YAML_READER_ERROR) { /* has an offset and no line */
        return weir_yaml_fail(reader->doc, (int)parser->mark.line + 1, reader->err, "not YAML: %s at byte %zu", problem,
                              parser->problem_offset);
    }
    return weir_yaml_fail(reader->doc, (int)parser->problem_mark.line + 1, reader->err, "not YAML: %s%s%s", problem,
                          parser->context == NULL ? "" : ", ", parser->context == NULL ? "" : parser->context);
}

static enum weir_status read_events(struct reader *reader) {
    bool seen = false;
    for (;;) {
        yaml_event_t event;
        if (!yaml_parser_parse(&reader->parser, &event)) return broken(reader);
        bool last = event.type == YAML_STREAM_END_EVENT;
        enum weir_status status = take_event(reader, &event, &seen);
        yaml_event_delete(&event);
        if (status != WEIR_OK || last) return status;
    }
}

enum weir_status weir_yaml_parse(const char *name, const uint8_t *bytes, size_t size, struct weir_yaml_doc **doc,
                                 struct weir_error *err) {
    struct weir_yaml_doc *made = calloc(1, sizeof *made);
    if (made == NULL) return weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name);
    weir_yaml_name(name, made->name, sizeof made->name);
    struct reader reader = {.doc = made, .err = err};
    if (!yaml_parser_initialize(&reader.parser)) {
        free(made);
        return weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", name);
    }
    yaml_parser_set_input_string(&reader.parser, bytes == NULL ? (const uint8_t *)"" : bytes, size);
    enum weir_status status = size > WEIR_YAML_BYTES_MAX
                                  ? weir_yaml_fail(made, 1, err, "longer than %d bytes", WEIR_YAML_BYTES_MAX)
                                  : read_events(&reader);
    yaml_parser_delete(&reader.parser);
    if (status == WEIR_OK && made->root == NULL) { /* an empty file */
        made->root = take(made, sizeof *made->root);
        if (made->root == NULL)
            status = no_memory(&reader);
        else
            *made->root = (struct weir_yaml){.kind = WEIR_YAML_NULL, .line = 1};
    }
    if (status != WEIR_OK) {
        weir_yaml_free(made);
        return status;
    }
    *doc = made;
    return WEIR_OK;
}

void weir_yaml_free(struct weir_yaml_doc *doc) {
    if (doc == NULL) return;
    for (struct block *block = doc->blocks, *next; block != NULL; block = next) {
        next = block->next;
        free(block);
    }
    free(doc);
}

enum weir_status weir_yaml_read(const char *path, uint8_t **bytes, size_t *size, struct weir_error *err) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return weir_fail(err, WEIR_IO, errno, false, "%s", path);
    uint8_t *out = malloc(WEIR_YAML_BYTES_MAX + 1);
    size_t used = 0;
    enum weir_status status = out == NULL ? weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", path) : WEIR_OK;
    while (status == WEIR_OK) { /* not by its size: it may be a pipe */
        ssize_t n = read(fd, out + used, WEIR_YAML_BYTES_MAX + 1 - used);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) status = weir_fail(err, WEIR_IO, errno, false, "%s", path);
        if (n <= 0) break;
        used += (size_t)n;
        if (used > WEIR_YAML_BYTES_MAX)
            status = weir_fail(err, WEIR_INVALID, 0, false, "%s: longer than %d bytes", path, WEIR_YAML_BYTES_MAX);
    }
    close(fd);
    if (status != WEIR_OK) {
        free(out);
        return status;
    }
    *bytes = out;
    *size = used;
    return WEIR_OK;
}

const struct weir_yaml *weir_yaml_get(const struct weir_yaml *map, const char *key) {
    if (map->kind != WEIR_YAML_MAP) return NULL;
    for (const struct weir_yaml *child = map->first; child != NULL; child = child->next) {
        if (strcmp(child->key, key) == 0) return child;
    }
    return NULL;
}

/* Levenshtein; both shorter than 40 or it is no typing error. */
static unsigned distance(const char *a, const char *b) {
    size_t m = strlen(a), n = strlen(b);
    if (m >= 40 || n >= 40) return 99;
    unsigned row[41];
    for (unsigned j = 0; j <= n; j++)
        row[j] = j;
    for (unsigned i = 1; i <= m; i++) {
        unsigned corner = row[0];
        row[0] = i;
        for (unsigned j = 1; j <= n; j++) {
            unsigned best = corner + (a[i - 1] != b[j - 1]);
            corner = row[j];
            if (row[j] + 1 < best) best = row[j] + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[n];
}

enum weir_status weir_yaml_unknown(const struct weir_yaml_doc *doc, const struct weir_yaml *node, const char *path,
                                   const char *const *known, size_t known_count, struct weir_error *err) {
    char shown[64];
    const char *dot = *path == 0 ? "" : ".", *nearest = NULL;
    unsigned best = 3;
    weir_yaml_show(node->key, shown, sizeof shown);
    for (size_t i = 0; i < known_count; i++) {
        unsigned d = distance(node->key, known[i]);
        if (d < best && d < strlen(known[i])) {
            best = d;
            nearest = known[i];
        }
    }
    if (nearest != NULL)
        return weir_yaml_fail(doc, node->line, err, "%s%s%s: unknown key, did you mean %s?", path, dot, shown, nearest);
    char list[160];
    size_t used = 0;
    for (size_t i = 0; i < known_count && used < sizeof list; i++) {
        int n = snprintf(list + used, sizeof list - used, "%s%s", i == 0 ? "" : ", ", known[i]);
        used += (size_t)n;
    }
    return weir_yaml_fail(doc, node->line, err, "%s%s%s: unknown key; known are %s", path, dot, shown, list);
}

void weir_yaml_name(const char *path, char *out, size_t out_size) {
    size_t size = strlen(path);
    if (size < out_size)
        memcpy(out, path, size + 1);
    else
        snprintf(out, out_size, "...%s", path + size - (out_size - 4));
}
