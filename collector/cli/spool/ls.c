#include "collector/cli/spool/ls.h"
#include "collector/cli/columns.h"
#include "collector/cli/text.h"
#include "collector/core/clock.h"
#include "collector/sample/blocks.h"
#include "collector/spool/record.h"
#include "exporters/json.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* ---- counting ---- */

struct counting {
    struct weir_spool_sum *sum;
    struct weir_origins *origins;
    uint64_t blocks, block_spans; /* behind the last mark */
};

static void one_of_block(void *self, const struct weir_record *record) {
    (void)record;
    ((struct counting *)self)->block_spans++;
}

static struct weir_origin *origin_of(void *self, const struct weir_origin_parts *parts) {
    int is_new;
    return weir_origins_get(((struct counting *)self)->origins, parts, &is_new);
}

static void at(struct weir_spool_sum *sum, uint64_t oldest_ns, uint64_t newest_ns) {
    if (sum->oldest_ns == 0 || oldest_ns < sum->oldest_ns) sum->oldest_ns = oldest_ns;
    if (newest_ns > sum->newest_ns) sum->newest_ns = newest_ns;
}

static bool count_record(void *self, const struct weir_spool_part *part, const struct weir_log_record *record) {
    struct counting *counting = self;
    struct weir_spool_record_head head;
    struct weir_error err;
    struct weir_spool_sum *sum = counting->sum;
    switch (weir_spool_part_kind(part, record->type)) {
    case WEIR_SPOOL_BATCH:
        sum->records++;
        if (!part->journal) sum->spans += weir_spool_record_spans(record->type);
        if (weir_spool_record_head(record->bytes,
                                   record->size < WEIR_SPOOL_GLANCE_BYTES ? record->size : WEIR_SPOOL_GLANCE_BYTES,
                                   &head, &err) != WEIR_OK)
            break;
        at(sum, head.unix_ns, head.unix_ns);
        if (part->journal) sum->spans += head.spans;
        break;
    case WEIR_SPOOL_BLOCK: {
        const struct weir_blocks_reader reader = {.self = counting, .origin = origin_of, .each = one_of_block};
        uint64_t before = counting->block_spans;
        sum->records++;
        counting->blocks++;
        if (weir_blocks_read_sealed(record->bytes, record->size, &reader, &err) == WEIR_INVALID) sum->damaged++;
        sum->spans += counting->block_spans - before;
        break;
    }
    case WEIR_SPOOL_MOVED: /* what was undecided before it stands once more behind it, or was decided */
        sum->records -= counting->blocks;
        sum->spans -= counting->block_spans;
        counting->blocks = counting->block_spans = 0;
        break;
    case WEIR_SPOOL_DECISIONS: break;
    default: break;
    }
    return true;
}

static void count_damage(void *self, const struct weir_spool_part *part, const struct weir_log_damage *damage) {
    struct counting *counting = self;
    (void)part;
    counting->sum->bad_bytes += damage->bytes;
    counting->sum->damaged++;
}

enum weir_status weir_spool_sum(const struct weir_spool_part *part, struct weir_spool_sum *sum,
                                struct weir_error *err) {
    struct counting counting = {.sum = sum, .origins = weir_origins_new(256)};
    *sum = (struct weir_spool_sum){0};
    if (counting.origins == NULL) return weir_fail(err, WEIR_FULL, 0, true, "out of memory");
    const struct weir_spool_visitor visitor = {.self = &counting,
                                               .waiting_only = true,
                                               .heads_only = !part->journal,
                                               .record = count_record,
                                               .damage = count_damage};
    enum weir_status status = weir_spool_part_visit(part, &visitor, err);
    if (part->journal && sum->records > 0) {
        for (uint32_t i = 0; i < part->segment_count; i++) {
            if (part->segments[i].bytes > WEIR_LOG_HEADER_BYTES)
                at(sum, part->segments[i].first_unix_ns, part->segments[i].last_unix_ns);
        }
    }
    weir_origins_free(counting.origins);
    return status;
}

/* ---- for people ---- */

enum { NAME_COLUMNS = 23 };

static void put_age(struct weir_buffer *out, uint64_t then_ns, uint64_t now_ns) {
    char text[WEIR_TEXT_BYTES] = "-";
    uint64_t age_s = now_ns > then_ns ? (now_ns - then_ns) / WEIR_S : 0;
    if (then_ns != 0 && age_s < 60)
        snprintf(text, sizeof text, "%us", (unsigned)age_s);
    else if (then_ns != 0)
        weir_text_duration(age_s * WEIR_S, false, text);
    weir_buffer_printf(out, "%8s", text);
}

/* Whose it is: mostly all of one Weir's. */
static void put_users(const struct weir_spool_dir *dir, struct weir_buffer *out) {
    uint32_t used = 0, same = 0;
    pid_t pid = 0;
    for (uint32_t i = 0; i < dir->part_count; i++) {
        if (!dir->parts[i].in_use) continue;
        if (used++ == 0) pid = dir->parts[i].pid;
        same += dir->parts[i].pid == pid;
    }
    if (used == dir->part_count && same == used) {
        weir_buffer_text(out, "in use by ");
        pid != 0 ? weir_buffer_printf(out, "process %d", (int)pid) : weir_buffer_text(out, "a running Weir");
        weir_buffer_text(out, ": it changes while this looks\n");
        return;
    }
    for (uint32_t i = 0; i < dir->part_count; i++) {
        if (!dir->parts[i].in_use) continue;
        weir_text_put(out, dir->parts[i].name, 48, false);
        weir_buffer_printf(out, ": in use by process %d\n", (int)dir->parts[i].pid);
    }
}

void weir_spool_ls_print(const struct weir_spool_dir *dir, const struct weir_spool_sum *sums, uint64_t now_unix_ns,
                         bool unicode, struct weir_buffer *out) {
    bool journal = false, damaged = false, used = false;
    weir_buffer_printf(out, "%-*s%6s%14s %11s%8s%8s%9s\n", NAME_COLUMNS, "", "files", "spans", "bytes", "oldest",
                       "newest", "damaged");
    for (uint32_t i = 0; i < dir->part_count; i++) {
        const struct weir_spool_part *part = &dir->parts[i];
        char text[WEIR_TEXT_BYTES];
        uint32_t columns = weir_text_put(out, part->name, NAME_COLUMNS - 1, unicode);
        weir_text_spaces(out, NAME_COLUMNS - columns);
        weir_buffer_printf(out, "%6u", part->segment_count);
        weir_text_count(sums[i].spans, text);
        weir_buffer_printf(out, "%14s%s", text, part->journal ? "*" : " ");
        weir_column_bytes(out, 11, (double)part->bytes);
        put_age(out, sums[i].oldest_ns, now_unix_ns);
        put_age(out, sums[i].newest_ns, now_unix_ns);
        weir_text_count(sums[i].damaged, text);
        weir_buffer_printf(out, "%9s\n", text);
        journal = journal || (part->journal && sums[i].spans > 0);
        damaged = damaged || sums[i].damaged > 0;
        used = used || part->in_use;
    }
    if (journal || damaged || used) weir_buffer_byte(out, '\n');
    if (used) put_users(dir, out);
    if (journal)
        weir_buffer_text(out, "* undecided when it was written, or on its way: some may be decided or delivered\n");
    if (damaged) weir_buffer_text(out, "`weir spool verify` reads all of it and says where it is damaged\n");
}

/* ---- for programs ---- */

static void put_text(struct weir_buffer *out, const char *text) {
    weir_json_put_string(out, (const uint8_t *)text, strlen(text));
}

static void put_time(struct weir_buffer *out, const char *name, uint64_t ns) {
    char text[40];
    time_t seconds = (time_t)(ns / WEIR_S);
    struct tm parts;
    weir_buffer_printf(out, ",\"%s\":", name);
    if (ns == 0 || gmtime_r(&seconds, &parts) == NULL) {
        weir_buffer_text(out, "null");
        return;
    }
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &parts);
    weir_buffer_printf(out, "\"%s.%03lluZ\"", text, (unsigned long long)(ns % WEIR_S / WEIR_MS));
}

void weir_spool_ls_json(const struct weir_spool_dir *dir, const struct weir_spool_sum *sums, struct weir_buffer *out) {
    weir_buffer_text(out, "{\"directory\":");
    put_text(out, dir->path);
    weir_buffer_text(out, ",\"parts\":[");
    for (uint32_t i = 0; i < dir->part_count; i++) {
        const struct weir_spool_part *part = &dir->parts[i];
        weir_buffer_text(out, i > 0 ? ",{\"name\":" : "{\"name\":");
        put_text(out, part->name);
        weir_buffer_printf(out, ",\"in_use\":%s,\"pid\":", part->in_use ? "true" : "false");
        if (part->pid != 0)
            weir_buffer_u64(out, (uint64_t)part->pid);
        else
            weir_buffer_text(out, "null");
        weir_buffer_printf(out, ",\"segments\":%u,\"records\":%llu,\"spans\":%llu,\"bytes\":%llu", part->segment_count,
                           (unsigned long long)sums[i].records, (unsigned long long)sums[i].spans,
                           (unsigned long long)part->bytes);
        put_time(out, "oldest", sums[i].oldest_ns);
        put_time(out, "newest", sums[i].newest_ns);
        weir_buffer_printf(out, ",\"damaged\":%llu,\"damaged_bytes\":%llu}", (unsigned long long)sums[i].damaged,
                           (unsigned long long)sums[i].bad_bytes);
    }
    weir_buffer_text(out, "]}\n");
}
