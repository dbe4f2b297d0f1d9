#include "collector/sample/decisions.h"

#include "collector/core/span.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

enum { KEPT_WAYS = 4, DROPPED_WAYS = 8 };

struct kept {
    uint64_t trace_lo, trace_hi, threshold;
    uint32_t rule_name;
    uint32_t used; /* 0: empty */
};

/* A trace has a place x, the 32 bits that choose its lane (weir_trace_lane()); a lane's buckets divide its part of all
 * places evenly. So lane and bucket of a fingerprint say where its trace lies to within one bucket, and it can be put
 * where it belongs when there are more or fewer of either. */
struct weir_decisions {
    uint32_t lanes; /* among how many the places are divided */
    struct kept (*kept)[KEPT_WAYS];
    uint32_t (*dropped)[DROPPED_WAYS]; /* the latest first, the empty ones, 0, behind them */
    uint32_t kept_buckets, dropped_buckets;
    uint64_t kept_count, dropped_count;
};

static uint32_t place_of(uint64_t trace_lo) { /* as in weir_trace_lane() */
    return (uint32_t)(((trace_lo ^ trace_lo >> 32) * 0x9e3779b97f4a7c15ull) >> 32);
}

static uint64_t hash_of(uint64_t trace_lo) { /* independent of the place; finaliser of MurmurHash3 */
    uint64_t h = trace_lo;
    h = (h ^ h >> 33) * 0xff51afd7ed558ccdull;
    h = (h ^ h >> 33) * 0xc4ceb9fe1a85ec53ull;
    return h ^ h >> 33;
}

static uint32_t fingerprint_of(uint64_t trace_lo) {
    uint32_t print = (uint32_t)hash_of(trace_lo);
    return print != 0 ? print : 1;
}

static uint32_t dropped_bucket(const struct weir_decisions *decisions, uint64_t trace_lo) {
    uint32_t within = (uint32_t)((uint64_t)place_of(trace_lo) * decisions->lanes); /* its part, stretched to 32 bits */
    return (uint32_t)((uint64_t)within * decisions->dropped_buckets >> 32);
}

static struct kept *kept_bucket(const struct weir_decisions *decisions, uint64_t trace_lo) {
    return decisions->kept[(uint32_t)((hash_of(trace_lo) >> 32) * decisions->kept_buckets >> 32)];
}

static bool same(const struct kept *kept, uint64_t trace_hi, uint64_t trace_lo) {
    return kept->used != 0 && kept->trace_lo == trace_lo &&
           (kept->trace_hi == trace_hi || kept->trace_hi == 0 || trace_hi == 0);
}

/* ---- putting and finding ---- */

static void put_kept(struct weir_decisions *decisions, const struct kept *new) {
    struct kept *bucket = kept_bucket(decisions, new->trace_lo);
    uint32_t way = 0;
    while (way < KEPT_WAYS - 1 && bucket[way].used != 0 && !same(&bucket[way], new->trace_hi, new->trace_lo))
        way++;
    if (bucket[way].used == 0) decisions->kept_count++;
    memmove(&bucket[1], &bucket[0], way * sizeof *bucket);
    bucket[0] = *new;
}

static void put_print(struct weir_decisions *decisions, uint32_t at, uint32_t print) {
    uint32_t *bucket = decisions->dropped[at];
    uint32_t way = 0;
    while (way < DROPPED_WAYS - 1 && bucket[way] != 0 && bucket[way] != print)
        way++;
    if (bucket[way] == 0) decisions->dropped_count++;
    memmove(&bucket[1], &bucket[0], way * sizeof *bucket);
    bucket[0] = print;
}

void weir_decisions_put(struct weir_decisions *decisions, uint64_t trace_hi, uint64_t trace_lo,
                        const struct weir_verdict *verdict) {
    if (!verdict->kept) {
        put_print(decisions, dropped_bucket(decisions, trace_lo), fingerprint_of(trace_lo));
        return;
    }
    put_kept(decisions, &(struct kept){.trace_lo = trace_lo,
                                       .trace_hi = trace_hi,
                                       .threshold = verdict->threshold,
                                       .rule_name = verdict->rule_name,
                                       .used = 1});
}

enum weir_remembered weir_decisions_find(const struct weir_decisions *decisions, uint64_t trace_hi, uint64_t trace_lo,
                                         struct weir_verdict *verdict) {
    const struct kept *bucket = kept_bucket(decisions, trace_lo);
    for (uint32_t way = 0; way < KEPT_WAYS; way++) {
        if (!same(&bucket[way], trace_hi, trace_lo)) continue;
        *verdict = (struct weir_verdict){.kept = true,
                                         .rule = WEIR_RULE_NONE,
                                         .rule_name = bucket[way].rule_name,
                                         .threshold = bucket[way].threshold};
        return WEIR_REMEMBERED_KEPT;
    }
    const uint32_t *prints = decisions->dropped[dropped_bucket(decisions, trace_lo)];
    uint32_t print = fingerprint_of(trace_lo);
    for (uint32_t way = 0; way < DROPPED_WAYS; way++) {
        if (prints[way] == print) return WEIR_REMEMBERED_DROPPED;
    }
    return WEIR_REMEMBERED_NOT;
}

void weir_decisions_prefetch(const struct weir_decisions *decisions, uint64_t trace_lo) {
    __builtin_prefetch(decisions->dropped[dropped_bucket(decisions, trace_lo)], 1);
    __builtin_prefetch(kept_bucket(decisions, trace_lo));
}

/* ---- size ---- */

static bool allocate(struct weir_decisions *decisions, uint64_t bytes) {
    /* One trace in 16 kept: 32 / 16 bytes of it to 4 x 15 / 16 of the others; a little over a third. */
    uint64_t kept = bytes * 35 / 100 / sizeof *decisions->kept;
    uint64_t dropped = bytes * 65 / 100 / sizeof *decisions->dropped;
    decisions->kept_buckets = kept < 1 ? 1 : kept > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)kept;
    decisions->dropped_buckets = dropped < 1 ? 1 : dropped > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)dropped;
    decisions->kept = calloc(decisions->kept_buckets, sizeof *decisions->kept);
    decisions->dropped = calloc(decisions->dropped_buckets, sizeof *decisions->dropped);
    if (decisions->kept != NULL && decisions->dropped != NULL) return true;
    free(decisions->kept);
    free(decisions->dropped);
    return false;
}

struct weir_decisions *weir_decisions_new(uint64_t bytes, uint32_t lanes) {
    struct weir_decisions *decisions = calloc(1, sizeof *decisions);
    if (decisions == NULL) return NULL;
    decisions->lanes = lanes;
    if (allocate(decisions, bytes)) return decisions;
    free(decisions);
    return NULL;
}

void weir_decisions_free(struct weir_decisions *decisions) {
    if (decisions == NULL) return;
    free(decisions->kept);
    free(decisions->dropped);
    free(decisions);
}

/* Fingerprints of one bucket, wherever its traces may lie now. `to` are all lanes of the new arrangement. */
static void spread_prints(struct weir_decisions *const *to, uint32_t to_count, const uint32_t *prints, uint32_t lane,
                          uint32_t lanes, uint32_t bucket, uint32_t buckets) {
    uint64_t whole = 1ull << 32;
    /* Places of the bucket: from the first to the last x with x * lanes in lane and bucket, rounded outwards. */
    uint64_t low = ((uint64_t)lane << 32) + (uint64_t)bucket * whole / buckets;
    uint64_t high = ((uint64_t)lane << 32) + ((uint64_t)(bucket + 1) * whole + buckets - 1) / buckets - 1;
    uint64_t first = low / lanes, last = high / lanes;
    if (last >= whole) last = whole - 1;
    for (uint64_t place = first;;) {
        uint64_t stretched = place * to_count;
        struct weir_decisions *decisions = to[stretched >> 32];
        uint32_t at = (uint32_t)((stretched & (whole - 1)) * decisions->dropped_buckets >> 32);
        for (uint32_t way = DROPPED_WAYS; way-- > 0;) {
            if (prints[way] != 0) put_print(decisions, at, prints[way]);
        }
        /* The first place behind this bucket of the new arrangement. */
        uint64_t edge = ((uint64_t)(at + 1) * whole + decisions->dropped_buckets - 1) / decisions->dropped_buckets;
        uint64_t next = (((stretched >> 32) << 32) + edge + to_count - 1) / to_count;
        place = next > place ? next : place + 1;
        if (place > last) return;
    }
}

bool weir_decisions_resize(struct weir_decisions *decisions, uint64_t bytes) {
    struct weir_decisions old = *decisions, new = {.lanes = old.lanes};
    if (!allocate(&new, bytes)) return false;
    for (uint32_t b = 0; b < old.kept_buckets; b++) {
        for (uint32_t way = KEPT_WAYS; way-- > 0;) {
            if (old.kept[b][way].used != 0) put_kept(&new, &old.kept[b][way]);
        }
    }
    /* Within one lane: the arrangement of one lane, whatever part of all places that is. */
    struct weir_decisions *alone = &new;
    for (uint32_t b = 0; b < old.dropped_buckets; b++)
        spread_prints(&alone, 1, old.dropped[b], 0, 1, b, old.dropped_buckets);
    *decisions = new;
    free(old.kept);
    free(old.dropped);
    return true;
}

uint64_t weir_decisions_kept(const struct weir_decisions *decisions) {
    return decisions->kept_count;
}
uint64_t weir_decisions_dropped(const struct weir_decisions *decisions) {
    return decisions->dropped_count;
}
double weir_decisions_false_drop_rate(const struct weir_decisions *decisions) {
    double prints_a_bucket = (double)decisions->dropped_count / decisions->dropped_buckets;
    return WEIR_DECISIONS_FALSE_DROP_RATE_MAX * prints_a_bucket / DROPPED_WAYS;
}
uint64_t weir_decisions_memory(const struct weir_decisions *decisions) {
    return sizeof *decisions + decisions->kept_buckets * sizeof *decisions->kept +
           decisions->dropped_buckets * sizeof *decisions->dropped;
}

/* ---- the file ----
 *
 *   "WDEC" version (4) lanes (4)
 *   for each lane: buckets (4), for each: fingerprints (1), the fingerprints, latest first (4 each);
 *                  kept (4), for each: trace_lo (8) trace_hi (8) T (8) name size (2) name
 *   XXH3 of all before (8)
 */
static const uint8_t magic[4] = {'W', 'D', 'E', 'C'};
enum { VERSION = 2, HEAD_BYTES = 12, CHECKSUM_BYTES = 8, LANES_MAX = 1024 };
#define FILE_BYTES_MAX (1ull << 32)

static void put_lane(struct weir_buffer *out, const struct weir_decisions *decisions, const struct weir_names *names) {
    weir_buffer_put(out, &decisions->dropped_buckets, 4);
    for (uint32_t b = 0; b < decisions->dropped_buckets; b++) {
        const uint32_t *prints = decisions->dropped[b];
        uint8_t filled = 0;
        while (filled < DROPPED_WAYS && prints[filled] != 0)
            filled++;
        weir_buffer_put(out, &filled, 1);
        weir_buffer_put(out, prints, filled * sizeof *prints);
    }
    uint32_t count = (uint32_t)decisions->kept_count;
    weir_buffer_put(out, &count, 4);
    for (uint32_t b = 0; b < decisions->kept_buckets; b++) {
        for (uint32_t way = KEPT_WAYS; way-- > 0;) {
            const struct kept *kept = &decisions->kept[b][way];
            if (kept->used == 0) continue;
            size_t size;
            const char *name = weir_names_text(names, kept->rule_name, &size);
            uint16_t name_size = (uint16_t)size;
            weir_buffer_put(out, &kept->trace_lo, 8);
            weir_buffer_put(out, &kept->trace_hi, 8);
            weir_buffer_put(out, &kept->threshold, 8);
            weir_buffer_put(out, &name_size, 2);
            weir_buffer_put(out, name, size);
        }
    }
}

static enum weir_status write_file(const char *path, const struct weir_buffer *out, struct weir_error *err) {
    char beside[4096];
    if ((size_t)snprintf(beside, sizeof beside, "%s.new", path) >= sizeof beside)
        return weir_fail(err, WEIR_INVALID, ENAMETOOLONG, false, "%s", path);
    int fd = open(beside, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0) return weir_fail(err, WEIR_IO, errno, false, "%s", beside);
    int failed = 0;
    for (size_t at = 0; failed == 0 && at < out->size;) {
        ssize_t wrote = write(fd, out->bytes + at, out->size - at);
        if (wrote > 0)
            at += (size_t)wrote;
        else if (wrote == 0 || errno != EINTR)
            failed = wrote == 0 ? ENOSPC : errno;
    }
    if (failed == 0 && fsync(fd) != 0) failed = errno;
    if (close(fd) != 0 && failed == 0) failed = errno;
    if (failed == 0 && rename(beside, path) != 0) failed = errno;
    if (failed == 0) return WEIR_OK;
    unlink(beside);
    return weir_fail(err, WEIR_IO, failed, false, "%s", path);
}

enum weir_status weir_decisions_save(struct weir_decisions *const *lanes, uint32_t count,
                                     const struct weir_names *names, const char *path, struct weir_error *err) {
    struct weir_buffer out = {0};
    uint32_t version = VERSION;
    weir_buffer_put(&out, magic, sizeof magic);
    weir_buffer_put(&out, &version, 4);
    weir_buffer_put(&out, &count, 4);
    for (uint32_t i = 0; i < count; i++)
        put_lane(&out, lanes[i], names);
    uint64_t checksum = out.failed ? 0 : XXH3_64bits(out.bytes, out.size);
    weir_buffer_put(&out, &checksum, CHECKSUM_BYTES);
    enum weir_status status =
        out.failed ? weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", path) : write_file(path, &out, err);
    weir_buffer_free(&out);
    return status;
}

struct file {
    const uint8_t *at, *end;
};

static bool take(struct file *file, void *out, size_t size) {
    if ((size_t)(file->end - file->at) < size) return false;
    memcpy(out, file->at, size);
    file->at += size;
    return true;
}

static bool take_kept(struct file *file, struct weir_decisions *const *lanes, uint32_t count,
                      struct weir_names *names) {
    struct kept kept = {.used = 1};
    uint16_t size;
    if (!take(file, &kept.trace_lo, 8) || !take(file, &kept.trace_hi, 8) || !take(file, &kept.threshold, 8) ||
        !take(file, &size, 2) || (size_t)(file->end - file->at) < size || kept.threshold > WEIR_THRESHOLD_MAX)
        return false;
    kept.rule_name = size > 0 ? weir_names_intern(names, file->at, size) : WEIR_NAME_NONE;
    file->at += size;
    put_kept(lanes[weir_trace_lane(kept.trace_lo, count)], &kept);
    return true;
}

static bool take_lane(struct file *file, uint32_t lane, uint32_t of, struct weir_decisions *const *lanes,
                      uint32_t count, struct weir_names *names) {
    uint32_t buckets, kept;
    if (!take(file, &buckets, 4)) return false;
    for (uint32_t b = 0; b < buckets; b++) {
        uint32_t prints[DROPPED_WAYS] = {0};
        uint8_t filled;
        if (!take(file, &filled, 1) || filled > DROPPED_WAYS || !take(file, prints, filled * sizeof *prints))
            return false;
        if (filled > 0) spread_prints(lanes, count, prints, lane, of, b, buckets);
    }
    if (!take(file, &kept, 4)) return false;
    for (uint32_t i = 0; i < kept; i++) {
        if (!take_kept(file, lanes, count, names)) return false;
    }
    return true;
}

static enum weir_status read_file(const char *path, uint8_t **bytes, size_t *size, struct weir_error *err) {
    *bytes = NULL;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return errno == ENOENT ? WEIR_OK : weir_fail(err, WEIR_IO, errno, false, "%s", path);
    struct stat st;
    enum weir_status status = WEIR_OK;
    if (fstat(fd, &st) != 0)
        status = weir_fail(err, WEIR_IO, errno, false, "%s", path);
    else if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size > FILE_BYTES_MAX)
        status = weir_fail(err, WEIR_INVALID, 0, false, "%s: not a file, or larger than any that was saved", path);
    if (status == WEIR_OK) {
        *size = (size_t)st.st_size;
        *bytes = malloc(*size + 1);
        if (*bytes == NULL) status = weir_fail(err, WEIR_FULL, ENOMEM, true, "%s", path);
    }
    for (size_t at = 0; status == WEIR_OK && at < *size;) {
        ssize_t got = pread(fd, *bytes + at, *size - at, (off_t)at);
        if (got > 0)
            at += (size_t)got;
        else if (got == 0 || errno != EINTR)
            status = weir_fail(err, WEIR_IO, got == 0 ? EIO : errno, false, "%s", path);
    }
    close(fd);
    return status;
}

/* The checksum is looked at first: what it covers was written whole, so a wrong file changes nothing. */
enum weir_status weir_decisions_read(const void *file_bytes, size_t size, struct weir_decisions *const *lanes,
                                     uint32_t count, struct weir_names *names, struct weir_error *err) {
    const uint8_t *bytes = file_bytes;
    uint32_t version, of;
    uint64_t checksum;
    if (size < HEAD_BYTES + CHECKSUM_BYTES || memcmp(bytes, magic, sizeof magic) != 0)
        return weir_fail(err, WEIR_INVALID, 0, false, "not a file of decisions");
    memcpy(&checksum, bytes + size - CHECKSUM_BYTES, CHECKSUM_BYTES);
    if (XXH3_64bits(bytes, size - CHECKSUM_BYTES) != checksum)
        return weir_fail(err, WEIR_INVALID, 0, false, "its checksum is wrong: torn, or changed");
    memcpy(&version, bytes + 4, 4);
    memcpy(&of, bytes + 8, 4);
    if (version != VERSION)
        return weir_fail(err, WEIR_INVALID, 0, false, "of version %u, this Weir reads %d", version, VERSION);
    struct file file = {.at = bytes + HEAD_BYTES, .end = bytes + size - CHECKSUM_BYTES};
    for (uint32_t lane = 0; lane < of; lane++) {
        if (of > LANES_MAX || !take_lane(&file, lane, of, lanes, count, names))
            return weir_fail(err, WEIR_INVALID, 0, false, "lane %u of %u is not sound", lane, of);
    }
    if (file.at != file.end) return weir_fail(err, WEIR_INVALID, 0, false, "more behind its %u lanes", of);
    return WEIR_OK;
}

enum weir_status weir_decisions_load(struct weir_decisions *const *lanes, uint32_t count, struct weir_names *names,
                                     const char *path, struct weir_error *err) {
    uint8_t *bytes;
    size_t size = 0;
    struct weir_error why = {0};
    enum weir_status status = read_file(path, &bytes, &size, err);
    if (status == WEIR_OK && bytes != NULL) {
        status = weir_decisions_read(bytes, size, lanes, count, names, &why);
        if (status != WEIR_OK) weir_fail(err, status, 0, false, "%s: %s", path, why.text);
    }
    free(bytes);
    return status;
}
