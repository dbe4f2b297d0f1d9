#include "collector/cli/policy/view.h"
#include "collector/core/operation.h"
#include "collector/decode/json.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TEXT_BYTES_MAX = 4096 };

/* The members that some object of the page has; one reader reads them all. */
enum number {
    RATE,
    SINCE,
    LIMIT,
    FLUSH_SPANS,
    FLUSH_INTERVAL,
    OFFERED,
    SPANS,
    BYTES,
    SPANS_OFFERED,
    BYTES_OFFERED,
    PROXY_CPU,
    RATIO,
    ERROR,
    SHARE,
    NUMBERS
};
static const char *const number_keys[NUMBERS] = {
    [RATE] = "rate",
    [SINCE] = "since",
    [LIMIT] = "max_traces_per_second",
    [FLUSH_SPANS] = "min_flush_spans",
    [FLUSH_INTERVAL] = "flush_interval",
    [OFFERED] = "offered",
    [SPANS] = "spans_per_second",
    [BYTES] = "bytes_per_second",
    [SPANS_OFFERED] = "spans_offered",
    [BYTES_OFFERED] = "bytes_offered",
    [PROXY_CPU] = "proxy_cpu",
    [RATIO] = "ratio",
    [ERROR] = "error",
    [SHARE] = "share",
};
enum word { SERVICE, OPERATION, WHY, VERSION, WAY, ID, STATE, REASON, SIDE, POLICY, WORDS };
static const char *const word_keys[WORDS] = {
    [SERVICE] = "service", [OPERATION] = "operation", [WHY] = "why",       [VERSION] = "version", [WAY] = "way",
    [ID] = "id",           [STATE] = "state",         [REASON] = "reason", [SIDE] = "side",       [POLICY] = "policy",
};

struct entry {
    double numbers[NUMBERS]; /* -1 = not there */
    uint32_t words[WORDS];   /* names */
    bool incident;
};

struct reader {
    struct weir_json json;
    struct weir_policy_view *view;
    struct weir_view_side *side;
    bool no_memory;
};

/* ---- rows ---- */

static uint32_t slot_of(const struct weir_view_side *side, uint32_t service, uint32_t operation) {
    uint64_t key = (uint64_t)service << 32 | operation;
    uint32_t slot = (uint32_t)((key ^ key >> 29) * 0x9e3779b97f4a7c15ull >> 32) & (side->index_size - 1);
    for (; side->index[slot] != 0; slot = (slot + 1) & (side->index_size - 1)) {
        const struct weir_view_row *row = &side->rows[side->index[slot] - 1];
        if (row->service == service && row->operation == operation) break;
    }
    return slot;
}

static bool grow(struct weir_view_side *side) {
    uint32_t capacity = side->capacity == 0 ? 64 : 2 * side->capacity;
    struct weir_view_row *rows = realloc(side->rows, capacity * sizeof *rows);
    if (rows == NULL) return false;
    side->rows = rows;
    uint32_t *index = calloc(2u * capacity, sizeof *index);
    if (index == NULL) return false;
    free(side->index);
    side->index = index;
    side->index_size = 2 * capacity;
    side->capacity = capacity;
    for (uint32_t i = 0; i < side->count; i++)
        index[slot_of(side, rows[i].service, rows[i].operation)] = i + 1;
    return true;
}

/* Found, or new; NULL: out of memory. */
static struct weir_view_row *row_of(struct reader *reader, uint32_t service, uint32_t operation) {
    struct weir_view_side *side = reader->side;
    if (side->count == side->capacity && !grow(side)) {
        reader->no_memory = true;
        return NULL;
    }
    uint32_t slot = slot_of(side, service, operation);
    if (side->index[slot] == 0) {
        side->rows[side->count] = (struct weir_view_row){.service = service,
                                                         .operation = operation,
                                                         .name = operation,
                                                         .rate = -1,
                                                         .limit = -1,
                                                         .estimate = -1,
                                                         .estimate_error = -1};
        side->index[slot] = ++side->count;
    }
    return &side->rows[side->index[slot] - 1];
}

/* As loads have it: "/users/42" and "/users/7" are one operation. */
static uint32_t templated(struct weir_names *names, uint32_t name) {
    char text[5 * WEIR_NAME_BYTES_MAX / 2 + 4];
    size_t size;
    const char *own = weir_names_text(names, name, &size);
    size = weir_operation_template((const uint8_t *)own, size, text, sizeof text);
    return weir_names_intern(names, text, size);
}

static double known(double number) {
    return number > 0 ? number : 0;
}

static struct weir_proxies_budget budget_of(const struct entry *entry) {
    return (struct weir_proxies_budget){.spans_per_second = known(entry->numbers[SPANS]),
                                        .bytes_per_second = known(entry->numbers[BYTES]),
                                        .proxy_cpu = known(entry->numbers[PROXY_CPU])};
}

/* ---- JSON ---- */

static bool read_word(struct reader *reader, uint32_t *name) {
    struct weir_json_text text;
    uint8_t bytes[TEXT_BYTES_MAX];
    if (!weir_json_string(&reader->json, &text)) return false;
    if (text.size > sizeof bytes) return weir_json_fail(&reader->json, "is longer than any name");
    *name = weir_names_intern(reader->view->names, bytes, weir_json_unescape(&text, bytes));
    return true;
}

static int place_of(const struct weir_json_text *key, const char *const *keys, int count) {
    for (int i = 0; i < count; i++) {
        if (weir_json_is(key, keys[i])) return i;
    }
    return -1;
}

static bool read_list(struct reader *reader, void (*one)(struct reader *reader, const struct entry *parent),
                      const struct entry *parent);
static void read_operation(struct reader *reader, const struct entry *service);

static void add_service(struct reader *reader, const struct entry *entry);

/* told: a service of a plan, whose operations are rows too. */
static struct entry read_object(struct reader *reader, bool told) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    struct entry entry = {0};
    for (int i = 0; i < NUMBERS; i++)
        entry.numbers[i] = -1;
    if (!weir_json_object(json)) return entry;
    while (weir_json_key(json, &key)) {
        int number = place_of(&key, number_keys, NUMBERS), word = place_of(&key, word_keys, WORDS);
        if (number >= 0) {
            weir_json_double(json, &entry.numbers[number]);
        } else if (word >= 0) {
            read_word(reader, &entry.words[word]);
        } else if (weir_json_is(&key, "incident")) {
            weir_json_bool(json, &entry.incident);
        } else if (told && weir_json_is(&key, "operations")) {
            add_service(reader, &entry); /* its name was read: it stands before them */
            read_list(reader, read_operation, &entry);
        } else {
            weir_json_skip(json);
        }
    }
    return entry;
}

static struct entry read_entry(struct reader *reader) {
    return read_object(reader, false);
}

static bool read_list(struct reader *reader, void (*one)(struct reader *reader, const struct entry *parent),
                      const struct entry *parent) {
    if (!weir_json_array(&reader->json)) return false;
    while (weir_json_element(&reader->json) && !reader->no_memory)
        one(reader, parent);
    return reader->json.why == NULL;
}

static void put_word(const struct reader *reader, char *to, uint32_t name) {
    snprintf(to, WEIR_VIEW_WORD, "%.*s", WEIR_VIEW_WORD - 1, weir_names_text(reader->view->names, name, NULL));
}

static void tell(struct reader *reader, struct weir_view_row *row, const struct entry *entry) {
    row->told = true;
    row->rate = known(entry->numbers[RATE]);
    row->since = known(entry->numbers[SINCE]);
    put_word(reader, row->why, entry->words[WHY]);
}

static void add_service(struct reader *reader, const struct entry *entry) {
    struct weir_view_row *row = row_of(reader, entry->words[SERVICE], WEIR_NAME_NONE);
    if (row == NULL) return;
    tell(reader, row, entry);
    row->limit = entry->numbers[LIMIT];
    row->min_flush_spans = known(entry->numbers[FLUSH_SPANS]);
    row->flush_interval = known(entry->numbers[FLUSH_INTERVAL]);
}

static void read_service(struct reader *reader, const struct entry *parent) {
    (void)parent;
    read_object(reader, true);
}

static void read_operation(struct reader *reader, const struct entry *service) {
    const struct entry entry = read_entry(reader);
    struct weir_view_row *row =
        row_of(reader, service->words[SERVICE], templated(reader->view->names, entry.words[OPERATION]));
    if (row == NULL) return;
    tell(reader, row, &entry);
    row->name = entry.words[OPERATION];
}

static void read_plan(struct reader *reader) {
    struct weir_json_text key;
    uint32_t version = WEIR_NAME_NONE;
    if (!weir_json_object(&reader->json)) return;
    while (weir_json_key(&reader->json, &key)) {
        if (weir_json_is(&key, "version")) {
            if (read_word(reader, &version)) put_word(reader, reader->side->version, version);
        } else if (weir_json_is(&key, "default")) {
            read_object(reader, true);
        } else if (weir_json_is(&key, "services")) {
            read_list(reader, read_service, NULL);
        } else {
            weir_json_skip(&reader->json);
        }
    }
}

static void read_load(struct reader *reader, const struct entry *parent) {
    (void)parent;
    const struct entry entry = read_entry(reader);
    struct weir_view_row *row = row_of(reader, entry.words[SERVICE], entry.words[OPERATION]);
    if (row == NULL) return;
    row->measured = true;
    row->incident = entry.incident;
    if (!row->told) row->rate = entry.numbers[RATE];
    row->offered = known(entry.numbers[OFFERED]);
    row->spans_told = known(entry.numbers[SPANS]);
    row->bytes_told = known(entry.numbers[BYTES]);
    row->spans_offered = known(entry.numbers[SPANS_OFFERED]);
    row->bytes_offered = known(entry.numbers[BYTES_OFFERED]);
    row->proxy_cpu = known(entry.numbers[PROXY_CPU]);
}

static void read_budget(struct reader *reader, const struct entry *parent) {
    (void)parent;
    const struct entry entry = read_entry(reader);
    struct weir_view_row *row = row_of(reader, entry.words[SERVICE], WEIR_NAME_NONE);
    if (row != NULL) row->budget = budget_of(&entry);
}

static void read_budgets(struct reader *reader) {
    struct weir_json_text key;
    if (!weir_json_object(&reader->json)) return;
    while (weir_json_key(&reader->json, &key)) {
        if (weir_json_is(&key, "fleet")) {
            const struct entry fleet = read_entry(reader);
            reader->side->budget = budget_of(&fleet);
        } else if (weir_json_is(&key, "services")) {
            read_list(reader, read_budget, NULL);
        } else {
            weir_json_skip(&reader->json);
        }
    }
}

static void read_estimate(struct reader *reader, const struct entry *parent) {
    (void)parent;
    const struct entry entry = read_entry(reader);
    struct weir_view_row *row = row_of(reader, entry.words[SERVICE], WEIR_NAME_NONE);
    if (row == NULL) return;
    row->estimate = entry.numbers[RATIO];
    row->estimate_error = known(entry.numbers[ERROR]);
}

static void read_side(struct reader *reader, const struct entry *parent) {
    (void)parent;
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    uint32_t name = WEIR_NAME_NONE;
    if (reader->view->side_count == WEIR_SIDES) {
        weir_json_fail(json, "is one side too many");
        return;
    }
    reader->side = &reader->view->sides[reader->view->side_count++];
    reader->side->share = 1;
    if (!weir_json_object(json)) return;
    while (weir_json_key(json, &key)) {
        if (weir_json_is(&key, "side")) {
            if (read_word(reader, &name)) put_word(reader, reader->side->name, name);
        } else if (weir_json_is(&key, "share")) {
            weir_json_double(json, &reader->side->share);
        } else if (weir_json_is(&key, "plan") && weir_json_peek(json) == WEIR_JSON_OBJECT) {
            read_plan(reader);
        } else if (weir_json_is(&key, "budgets")) {
            read_budgets(reader);
        } else if (weir_json_is(&key, "loads")) {
            read_list(reader, read_load, NULL);
        } else if (weir_json_is(&key, "estimates")) {
            read_list(reader, read_estimate, NULL);
        } else {
            weir_json_skip(json);
        }
    }
}

static void read_follower(struct reader *reader, const struct entry *parent) {
    (void)parent;
    struct weir_policy_view *view = reader->view;
    const struct entry entry = read_entry(reader);
    if (view->follower_count == view->follower_capacity) {
        uint32_t capacity = view->follower_capacity == 0 ? 64 : 2 * view->follower_capacity;
        struct weir_view_follower *more = realloc(view->followers, capacity * sizeof *more);
        if (more == NULL) {
            reader->no_memory = true;
            return;
        }
        view->followers = more;
        view->follower_capacity = capacity;
    }
    struct weir_view_follower *follower = &view->followers[view->follower_count++];
    *follower = (struct weir_view_follower){
        .service = entry.words[SERVICE], .id = entry.words[ID], .reason = entry.words[REASON]};
    const char *side = weir_names_text(view->names, entry.words[SIDE], NULL);
    follower->side = strcmp(side, "canary") == 0 ? WEIR_SIDE_CANARY : WEIR_SIDE_POLICY;
    put_word(reader, follower->way, entry.words[WAY]);
    put_word(reader, follower->state, entry.words[STATE]);
}

static void read_page(struct reader *reader) {
    struct weir_json *json = &reader->json;
    struct weir_json_text key;
    uint32_t name = WEIR_NAME_NONE;
    if (!weir_json_object(json)) return;
    while (weir_json_key(json, &key)) {
        if (weir_json_is(&key, "policy") && weir_json_peek(json) == WEIR_JSON_STRING) {
            if (read_word(reader, &name))
                snprintf(reader->view->policy, sizeof reader->view->policy, "%s",
                         weir_names_text(reader->view->names, name, NULL));
        } else if (weir_json_is(&key, "arriving_spans_per_second")) {
            weir_json_double(json, &reader->view->arriving);
        } else if (weir_json_is(&key, "sides")) {
            read_list(reader, read_side, NULL);
        } else if (weir_json_is(&key, "followers")) {
            read_list(reader, read_follower, NULL);
        } else {
            weir_json_skip(json);
        }
    }
    weir_json_end(json);
}

/* ---- order ---- */

struct place {
    const struct weir_view_row *row, *service; /* its service's own row, or NULL */
    const struct weir_names *names;
};

static int by_size(double a, double b) { /* the largest first */
    return (a < b) - (a > b);
}

static int as_drawn(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->row->service != y->row->service) {
        if (x->row->service == WEIR_NAME_NONE || y->row->service == WEIR_NAME_NONE)
            return x->row->service == WEIR_NAME_NONE ? 1 : -1;
        int size =
            by_size(x->service != NULL ? x->service->spans_told : 0, y->service != NULL ? y->service->spans_told : 0);
        if (size != 0) return size;
        return strcmp(weir_names_text(x->names, x->row->service, NULL),
                      weir_names_text(y->names, y->row->service, NULL));
    }
    if (x->row->operation == WEIR_NAME_NONE || y->row->operation == WEIR_NAME_NONE)
        return x->row->operation == WEIR_NAME_NONE ? -1 : 1;
    int size = by_size(x->row->spans_told, y->row->spans_told);
    if (size != 0) return size;
    return strcmp(weir_names_text(x->names, x->row->name, NULL), weir_names_text(y->names, y->row->name, NULL));
}

static bool sort_rows(struct weir_view_side *side, const struct weir_names *names) {
    if (side->count == 0) return true;
    struct place *places = malloc(side->count * sizeof *places);
    struct weir_view_row *rows = malloc(side->count * sizeof *rows);
    bool ok = places != NULL && rows != NULL;
    for (uint32_t i = 0; ok && i < side->count; i++) {
        uint32_t own = side->index[slot_of(side, side->rows[i].service, WEIR_NAME_NONE)];
        places[i] = (struct place){&side->rows[i], own == 0 ? NULL : &side->rows[own - 1], names};
    }
    if (ok) qsort(places, side->count, sizeof *places, as_drawn);
    for (uint32_t i = 0; ok && i < side->count; i++)
        rows[i] = *places[i].row;
    free(places);
    if (!ok) {
        free(rows);
        return false;
    }
    free(side->rows);
    side->rows = rows;
    return true;
}

enum weir_status weir_policy_view_read(struct weir_policy_view *view, const uint8_t *bytes, size_t size,
                                       struct weir_error *err) {
    struct reader reader = {.json = weir_json_of(bytes, size), .view = view};
    view->arriving = -1;
    read_page(&reader);
    if (reader.json.why != NULL && !reader.no_memory)
        return weir_fail(err, WEIR_INVALID, 0, false, "not what /policy answers: byte %zu: %s",
                         (size_t)(reader.json.at - reader.json.start), reader.json.why);
    for (uint32_t s = 0; s < view->side_count; s++)
        reader.no_memory = reader.no_memory || !sort_rows(&view->sides[s], view->names);
    return reader.no_memory ? weir_fail(err, WEIR_FULL, ENOMEM, true, "out of memory") : WEIR_OK;
}

void weir_policy_view_free(struct weir_policy_view *view) {
    for (uint32_t s = 0; s < WEIR_SIDES; s++) {
        free(view->sides[s].rows);
        free(view->sides[s].index);
        view->sides[s] = (struct weir_view_side){0};
    }
    free(view->followers);
    view->followers = NULL;
    view->follower_count = view->follower_capacity = view->side_count = 0;
}
