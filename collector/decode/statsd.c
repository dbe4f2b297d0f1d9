#include "collector/decode/statsd.h"
#include "collector/core/clock.h"
#include "collector/core/utf8.h"
#include "collector/decode/key.h"
#include "collector/decode/number.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

const char *const weir_statsd_refusal_names[WEIR_STATSD_REFUSALS] = {
    [WEIR_STATSD_NO_VALUE] = "no_value",   [WEIR_STATSD_BAD_NAME] = "bad_name",
    [WEIR_STATSD_BAD_VALUE] = "bad_value", [WEIR_STATSD_NEGATIVE] = "negative",
    [WEIR_STATSD_BAD_TYPE] = "bad_type",   [WEIR_STATSD_BAD_RATE] = "bad_rate",
    [WEIR_STATSD_BAD_TAG] = "bad_tag",     [WEIR_STATSD_BAD_SECTION] = "bad_section",
    [WEIR_STATSD_EVENT] = "event",
};

/* 8192 entries in pairs: a pair holds two lines of one hash, so that of some thousand live lines few displace each
 * other. An entry longer than KNOWN_BYTES_MAX (its raw pieces and its key) is made anew each time. */
enum { KNOWN = 8192, KNOWN_BYTES_MAX = 512, ACCEPTED = -1 };

struct piece {
    const uint8_t *bytes;
    uint32_t size;
};
enum { NAME, TAGS, CONTAINER, SOURCE, PIECES }; /* what a key is made of */

struct known {
    uint64_t raw_hash, key_hash;
    uint8_t *bytes; /* the pieces, then the key */
    uint16_t sizes[PIECES];
    uint16_t key_size, capacity;
    bool prefer_host_tag;
};

struct weir_statsd {
    const struct weir_names *names;
    struct weir_key *key;
    struct known *known;
};

enum type { COUNTER, GAUGE, TIMER, SAMPLE, SET };

struct line {
    struct piece pieces[PIECES];
    bool prefer_host_tag;
    uint64_t source_hash;
    const uint8_t *values, *values_end;
    enum type type;
    double rate;
    uint64_t time_ns;
};

struct weir_statsd *weir_statsd_new(const struct weir_names *names, uint32_t label_value_bytes_max) {
    struct weir_statsd *statsd = calloc(1, sizeof *statsd);
    if (statsd == NULL) return NULL;
    statsd->names = names;
    statsd->key = weir_key_new(label_value_bytes_max);
    statsd->known = calloc(KNOWN, sizeof *statsd->known);
    if (statsd->key == NULL || statsd->known == NULL) {
        weir_statsd_free(statsd);
        return NULL;
    }
    return statsd;
}

void weir_statsd_free(struct weir_statsd *statsd) {
    if (statsd == NULL) return;
    weir_key_free(statsd->key);
    for (uint32_t i = 0; statsd->known != NULL && i < KNOWN; i++)
        free(statsd->known[i].bytes);
    free(statsd->known);
    free(statsd);
}

/* ---- from pieces to a key ---- */

static bool add_tags(struct weir_key *key, struct piece tags) {
    const uint8_t *at = tags.bytes, *end = tags.bytes + tags.size;
    while (at < end) {
        const uint8_t *comma = memchr(at, ',', (size_t)(end - at)), *stop = comma == NULL ? end : comma;
        if (at < stop && *at == '#') at++; /* Datadog's PHP client writes one before each tag */
        const uint8_t *colon = memchr(at, ':', (size_t)(stop - at));
        if (colon != NULL && !weir_key_label(key, at, (size_t)(colon - at), colon + 1, (size_t)(stop - colon - 1)))
            return false;
        at = comma == NULL ? end : comma + 1;
    }
    return true;
}

static int make_key(struct weir_statsd *statsd, const struct line *line, const uint8_t **bytes, uint32_t *size) {
    const struct piece *name = &line->pieces[NAME], *tags = &line->pieces[TAGS], *container = &line->pieces[CONTAINER];
    if (memchr(name->bytes, '|', name->size) != NULL || !weir_utf8_valid(name->bytes, name->size))
        return WEIR_STATSD_BAD_NAME;
    if (!weir_key_name(statsd->key, name->bytes, name->size)) return WEIR_STATSD_BAD_NAME;
    if (!weir_utf8_valid(tags->bytes, tags->size) || !weir_utf8_valid(container->bytes, container->size))
        return WEIR_STATSD_BAD_TAG;
    if (!add_tags(statsd->key, *tags)) return WEIR_STATSD_BAD_TAG;
    if (container->size > 0 && !weir_key_label(statsd->key, "container_id", 12, container->bytes, container->size))
        return WEIR_STATSD_BAD_TAG;
    struct piece source = line->pieces[SOURCE];
    if (source.size > 0) {
        uint32_t host_size;
        const uint8_t *host = line->prefer_host_tag ? weir_key_value(statsd->key, "host", &host_size) : NULL;
        if (host != NULL) source = (struct piece){host, host_size};
        if (!weir_key_label(statsd->key, "source", 6, source.bytes, source.size)) return WEIR_STATSD_BAD_TAG;
    }
    *bytes = weir_key_done(statsd->key, size);
    return ACCEPTED;
}

static bool same(const struct known *known, const struct line *line) {
    const uint8_t *at = known->bytes;
    for (int i = 0; i < PIECES; i++) {
        const struct piece *piece = &line->pieces[i];
        if (known->sizes[i] != piece->size) return false;
        if (piece->size > 0 && memcmp(at, piece->bytes, piece->size) != 0) return false;
        at += piece->size;
    }
    return known->prefer_host_tag == line->prefer_host_tag;
}

/* Into the pair's first place; what was there moves to the second. */
static void remember(struct known *pair, uint64_t raw_hash, const struct line *line, const struct weir_point *point) {
    size_t size = point->key_size;
    for (int i = 0; i < PIECES; i++)
        size += line->pieces[i].size;
    if (size > KNOWN_BYTES_MAX) return;
    struct known known = pair[1]; /* its memory is used again */
    pair[1] = pair[0];
    if (known.capacity < size) {
        free(known.bytes);
        known.bytes = malloc(size);
        known.capacity = known.bytes == NULL ? 0 : (uint16_t)size;
    }
    if (known.bytes == NULL) {
        pair[0] = (struct known){0};
        return;
    }
    uint8_t *at = known.bytes;
    for (int i = 0; i < PIECES; i++) {
        known.sizes[i] = (uint16_t)line->pieces[i].size;
        if (known.sizes[i] > 0) memcpy(at, line->pieces[i].bytes, known.sizes[i]);
        at += known.sizes[i];
    }
    memcpy(at, point->key, point->key_size);
    known.key_size = (uint16_t)point->key_size;
    known.raw_hash = raw_hash;
    known.key_hash = point->hash;
    known.prefer_host_tag = line->prefer_host_tag;
    pair[0] = known;
}

static int find_key(struct weir_statsd *statsd, const struct line *line, struct weir_point *point) {
    const struct piece *name = &line->pieces[NAME], *tags = &line->pieces[TAGS], *container = &line->pieces[CONTAINER];
    uint64_t hash = weir_names_hash(statsd->names, name->bytes, name->size) + line->source_hash;
    if (tags->size > 0) hash = hash * 0x9e3779b97f4a7c15ull + weir_names_hash(statsd->names, tags->bytes, tags->size);
    if (container->size > 0)
        hash = hash * 0x9e3779b97f4a7c15ull + weir_names_hash(statsd->names, container->bytes, container->size);
    struct known *pair = &statsd->known[(hash % (KNOWN / 2)) * 2];
    for (int i = 0; i < 2; i++) {
        const struct known *known = &pair[i];
        if (known->raw_hash != hash || known->bytes == NULL || !same(known, line)) continue;
        point->hash = known->key_hash;
        point->key_size = known->key_size;
        point->key =
            known->bytes + known->sizes[NAME] + known->sizes[TAGS] + known->sizes[CONTAINER] + known->sizes[SOURCE];
        return ACCEPTED;
    }
    int verdict = make_key(statsd, line, &point->key, &point->key_size);
    if (verdict != ACCEPTED) return verdict;
    point->hash = weir_names_hash(statsd->names, point->key, point->key_size);
    remember(pair, hash, line, point);
    return ACCEPTED;
}

/* ---- from bytes to a line ---- */

static bool read_time(struct piece text, uint64_t *time_ns) {
    uint64_t seconds = 0;
    if (text.size == 0 || text.size > 11) return false;
    for (uint32_t i = 0; i < text.size; i++) {
        unsigned digit = (unsigned)text.bytes[i] - '0';
        if (digit > 9) return false;
        seconds = seconds * 10 + digit;
    }
    if (seconds > UINT64_MAX / WEIR_S) return false;
    *time_ns = seconds * WEIR_S;
    return true;
}

static bool starts(struct piece section, const char *prefix, uint32_t size) {
    return section.size > size && memcmp(section.bytes, prefix, size) == 0; /* and something behind it */
}

/*   @rate   #tag:value,...   c:container   T1656581400   e:...   card:...      in any order, each once */
static int read_section(struct line *line, struct piece section, unsigned *seen) {
    enum { SEEN_RATE = 1, SEEN_TAGS = 2, SEEN_CONTAINER = 4, SEEN_TIME = 8, SEEN_EXTERNAL = 16, SEEN_CARDINALITY = 32 };
    struct piece body = {section.bytes + 1, section.size - 1};
    unsigned which;
    if (section.size == 0) return WEIR_STATSD_BAD_SECTION;
    switch (section.bytes[0]) {
    case '@':
        which = SEEN_RATE;
        if (weir_number_read(body.bytes, body.bytes + body.size, &line->rate) != body.bytes + body.size)
            return WEIR_STATSD_BAD_RATE;
        if (!(line->rate > 0 && line->rate <= 1) || !isfinite(1 / line->rate)) return WEIR_STATSD_BAD_RATE;
        break;
    case '#':
        which = SEEN_TAGS;
        line->pieces[TAGS] = body;
        break;
    case 'T':
        which = SEEN_TIME;
        if (!read_time(body, &line->time_ns)) return WEIR_STATSD_BAD_SECTION;
        break;
    default:
        if (starts(section, "c:", 2)) {
            which = SEEN_CONTAINER;
            line->pieces[CONTAINER] = (struct piece){section.bytes + 2, section.size - 2};
        } else if (starts(section, "e:", 2)) {
            which = SEEN_EXTERNAL;
        } else if (starts(section, "card:", 5)) {
            which = SEEN_CARDINALITY;
        } else {
            return WEIR_STATSD_BAD_SECTION;
        }
    }
    if (*seen & which) return WEIR_STATSD_BAD_SECTION;
    *seen |= which;
    return ACCEPTED;
}

static bool read_type(struct piece text, enum type *type) {
    if (text.size == 2 && text.bytes[0] == 'm' && text.bytes[1] == 's') {
        *type = TIMER;
        return true;
    }
    if (text.size != 1) return false;
    switch (text.bytes[0]) {
    case 'c': *type = COUNTER; return true;
    case 'g': *type = GAUGE; return true;
    case 'h':
    case 'd': *type = SAMPLE; return true;
    case 's': *type = SET; return true;
    default: return false;
    }
}

static struct piece up_to_bar(const uint8_t *at, const uint8_t *end) {
    const uint8_t *bar = memchr(at, '|', (size_t)(end - at));
    return (struct piece){at, (uint32_t)((bar == NULL ? end : bar) - at)};
}

/*   name ':' value {':' value} '|' type {'|' section} */
static int read_line(const uint8_t *at, const uint8_t *end, struct line *line) {
    size_t size = (size_t)(end - at);
    if (at[0] == '_' && ((size >= 3 && memcmp(at, "_e{", 3) == 0) || (size >= 4 && memcmp(at, "_sc|", 4) == 0)))
        return WEIR_STATSD_EVENT;
    const uint8_t *colon = memchr(at, ':', size);
    if (colon == NULL) return WEIR_STATSD_NO_VALUE;
    line->pieces[NAME] = (struct piece){at, (uint32_t)(colon - at)};
    line->pieces[TAGS] = line->pieces[CONTAINER] = (struct piece){at, 0};
    line->rate = 1;
    line->time_ns = 0;
    if (colon == at) return WEIR_STATSD_BAD_NAME;

    struct piece values = up_to_bar(colon + 1, end);
    if (values.size == 0) return WEIR_STATSD_NO_VALUE;
    line->values = values.bytes;
    line->values_end = at = values.bytes + values.size;
    if (at == end) return WEIR_STATSD_BAD_TYPE;

    struct piece type = up_to_bar(at + 1, end);
    if (!read_type(type, &line->type)) return WEIR_STATSD_BAD_TYPE;
    unsigned seen = 0;
    for (at = type.bytes + type.size; at < end;) {
        struct piece section = up_to_bar(at + 1, end);
        int verdict = read_section(line, section, &seen);
        if (verdict != ACCEPTED) return verdict;
        at = section.bytes + section.size;
    }
    return ACCEPTED;
}

/* ---- from a line to points ---- */

/* The value at `*at` into `point`; *at moves behind it and its colon. */
static int read_value(const struct line *line, const uint8_t **at, struct weir_point *point) {
    const uint8_t *start = *at, *stop = weir_number_read(start, line->values_end, &point->value);
    if (stop == NULL) return WEIR_STATSD_BAD_VALUE;
    if (stop < line->values_end) {
        if (*stop != ':' || ++stop == line->values_end) return WEIR_STATSD_BAD_VALUE;
    }
    *at = stop;
    switch (line->type) {
    case COUNTER:
        if (point->value < 0) return WEIR_STATSD_NEGATIVE;
        point->value /= line->rate;
        if (!isfinite(point->value)) return WEIR_STATSD_BAD_VALUE;
        break;
    case TIMER: point->value /= 1000; break;
    case GAUGE: point->kind = *start == '+' || *start == '-' ? WEIR_POINT_GAUGE_ADD : WEIR_POINT_GAUGE; break;
    case SAMPLE:
    case SET: break;
    }
    return ACCEPTED;
}

static int give_values(struct weir_statsd *statsd, const struct line *line, struct weir_point *point,
                       const struct weir_statsd_calls *calls) {
    const uint8_t *at = line->values;
    int verdict = read_value(line, &at, point);
    if (verdict != ACCEPTED) return verdict;
    bool packed = at < line->values_end;
    while (at < line->values_end) { /* all are read before the first is given */
        verdict = read_value(line, &at, point);
        if (verdict != ACCEPTED) return verdict;
    }
    verdict = find_key(statsd, line, point);
    if (verdict != ACCEPTED) return verdict;
    if (!packed) {
        calls->point(calls->self, point);
        return ACCEPTED;
    }
    for (at = line->values; at < line->values_end;) {
        read_value(line, &at, point);
        calls->point(calls->self, point);
    }
    return ACCEPTED;
}

static int take_line(struct weir_statsd *statsd, const uint8_t *at, const uint8_t *end, struct line *line,
                     const struct weir_statsd_calls *calls) {
    static const uint8_t kinds[] = {[COUNTER] = WEIR_POINT_COUNT,
                                    [GAUGE] = WEIR_POINT_GAUGE,
                                    [TIMER] = WEIR_POINT_TIMER,
                                    [SAMPLE] = WEIR_POINT_SAMPLE,
                                    [SET] = WEIR_POINT_SET};
    int verdict = read_line(at, end, line);
    if (verdict != ACCEPTED) return verdict;
    struct weir_point point = {.kind = kinds[line->type], .weight = 1};
    if (line->type == TIMER || line->type == SAMPLE) point.weight = 1 / line->rate;
    if (line->type == COUNTER || line->type == GAUGE) point.time_ns = line->time_ns; /* the others carry none (1.3) */
    if (line->type != SET) return give_values(statsd, line, &point, calls);

    verdict = find_key(statsd, line, &point); /* a set's values are not packed: its member may hold colons */
    if (verdict != ACCEPTED) return verdict;
    point.member = weir_names_hash(statsd->names, line->values, (size_t)(line->values_end - line->values));
    calls->point(calls->self, &point);
    return ACCEPTED;
}

size_t weir_statsd_decode(struct weir_statsd *statsd, const uint8_t *bytes, size_t size,
                          struct weir_statsd_source source, const struct weir_statsd_calls *calls) {
    struct line line = {.prefer_host_tag = source.prefer_host_tag};
    if (source.address != NULL) {
        line.pieces[SOURCE] = (struct piece){(const uint8_t *)source.address, (uint32_t)strlen(source.address)};
        line.source_hash = weir_names_hash(statsd->names, source.address, line.pieces[SOURCE].size);
    }
    size_t lines = 0;
    for (const uint8_t *at = bytes, *end = bytes + size; at < end;) {
        const uint8_t *newline = memchr(at, '\n', (size_t)(end - at)), *stop = newline == NULL ? end : newline;
        if (stop > at) {
            lines++;
            int verdict = take_line(statsd, at, stop, &line, calls);
            if (verdict != ACCEPTED) calls->refused(calls->self, (enum weir_statsd_refusal)verdict);
        }
        at = newline == NULL ? end : newline + 1;
    }
    return lines;
}
