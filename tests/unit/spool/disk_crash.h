/* disk_crash.h - what a crash behind operation k of a trace (disk_trace.h) may leave in the directory.
 *
 * The process dies: all that it did is there. The power fails: of each page of 4 KiB that was written since the last
 * good fdatasync of its file, any version since then, in any order of pages, or a mix of versions by sectors of 512
 * bytes; of a page that was never synced also zeros (allocated, not written), bytes at random, or those of a page that
 * another file had (what stood in the block before). The size: any that it was since, or between. Of each name any
 * state since the last good fsync of the directory: each by itself, and as a journal orders them.
 *
 * From the literature: ALICE (Pillai et al., OSDI 2014) finds appends and sizes reordered with data, garbage behind a
 * new size (ext3 and ext4 with data=writeback), writes torn at blocks, directory operations reordered (btrfs), names
 * lost though the file was synced. CuttleFS (Rebello et al., "Can Applications Recover from fsync Failures?", ATC
 * 2020): after an fdatasync that failed ext4 and XFS call the pages clean; they stay in memory, are on the disk or not,
 * and the next fdatasync says nothing of them. All that is modelled. ext4 with data=ordered and XFS leave less: size
 * and data in order, names in the order of their journal; that is a part of what is walked. Not modelled: pages that
 * turn back in memory after a failed fdatasync (btrfs) while the process lives; a file system that loses what it
 * synced, or that is not there at all behind a crash; a directory whose fsync failed and that the next good one does
 * not cover (ext4 and XFS stop there); blocks of an earlier life of the same file at the same offset. */
#ifndef WEIR_TESTS_DISK_CRASH_H
#define WEIR_TESTS_DISK_CRASH_H
#include "tests/unit/spool/disk_trace.h"

enum { PAGE = 4096, SECTOR = 512, VERSIONS_MAX = 64 };

/* What may be on the disk: the last is what memory has. A NULL image is zeros. */
struct crash_page {
    uint8_t **maybe;
    uint32_t count, capacity;
    bool dirty, fresh; /* fresh: never synced */
};
struct crash_file {
    struct crash_page *pages;
    uint32_t page_count, page_capacity;
    uint64_t sizes[VERSIONS_MAX];
    uint32_t size_count;
    bool size_dirty, size_fresh;
    uint32_t version, stored; /* of it in memory; of the copy in `store`, 0 = none */
};
struct crash_name {
    char name[32];
    int32_t maybe[VERSIONS_MAX]; /* file; -1 = not there */
    uint32_t count;
};

static struct crash {
    char store[128], folder[128]; /* copies of files; the directory that is made */
    struct crash_file *files;
    uint32_t file_count, file_capacity;
    struct crash_name *names;
    uint32_t name_count, name_capacity;
    struct { /* since the last good sync of names, in order */
        uint32_t name;
        int32_t file;
    } pending[VERSIONS_MAX];
    uint32_t pending_count;
    bool names_ordered; /* what was made last: the names are as a journal leaves them */
    uint64_t random;
} crash;

static uint32_t crash_random(uint32_t below) {
    crash.random = crash.random * 6364136223846793005u + 1442695040888963407u;
    return below == 0 ? 0 : (uint32_t)((crash.random >> 33) % below);
}

/* ---- the model ---- */

static struct crash_page *crash_page(struct crash_file *file, uint64_t index) {
    while (file->page_count <= index) {
        file->pages = trace_grown(file->pages, file->page_count, &file->page_capacity, sizeof *file->pages);
        file->pages[file->page_count++] = (struct crash_page){.fresh = true};
    }
    struct crash_page *page = &file->pages[index];
    if (page->count == 0) {
        page->maybe = trace_grown(page->maybe, 0, &page->capacity, sizeof *page->maybe);
        page->maybe[page->count++] = NULL;
    }
    return page;
}

static void page_add(struct crash_page *page, uint8_t *image) {
    page->maybe = trace_grown(page->maybe, page->count, &page->capacity, sizeof *page->maybe);
    page->maybe[page->count++] = image;
    page->dirty = true;
}

/* A new version of it, to be changed. */
static uint8_t *page_changed(struct crash_page *page) {
    const uint8_t *before = page->maybe[page->count - 1];
    uint8_t *image = calloc(1, PAGE);
    if (image == NULL) abort();
    if (before != NULL) memcpy(image, before, PAGE);
    page_add(page, image);
    return image;
}

static void page_settled(struct crash_page *page) {
    for (uint32_t i = 0; i + 1 < page->count; i++)
        free(page->maybe[i]);
    page->maybe[0] = page->maybe[page->count - 1];
    page->count = 1;
    page->fresh = false;
}

static void file_size(struct crash_file *file, uint64_t size) {
    if (file->size_count == VERSIONS_MAX) { /* a middle one has the least to say */
        memmove(file->sizes + 1, file->sizes + 2, (VERSIONS_MAX - 2) * sizeof file->sizes[0]);
        file->size_count--;
    }
    file->sizes[file->size_count++] = size;
    file->size_dirty = true;
}

static void file_write(struct crash_file *file, uint64_t offset, const uint8_t *bytes, uint64_t size) {
    uint64_t end = offset + size;
    for (uint64_t at = offset; at < end;) {
        uint64_t within = at % PAGE, part = PAGE - within < end - at ? PAGE - within : end - at;
        memcpy(page_changed(crash_page(file, at / PAGE)) + within, bytes + (at - offset), part);
        at += part;
    }
    if (end > file->sizes[file->size_count - 1]) file_size(file, end);
    file->version++;
}

static void file_truncate(struct crash_file *file, uint64_t size) {
    for (uint64_t i = size / PAGE; i < file->page_count; i++) {
        struct crash_page *page = crash_page(file, i);
        uint64_t kept = i == size / PAGE ? size % PAGE : 0;
        if (page->maybe[page->count - 1] == NULL) continue;
        if (kept == 0) {
            page_add(page, NULL);
        } else {
            memset(page_changed(page) + kept, 0, PAGE - kept);
        }
    }
    file_size(file, size);
    file->version++;
}

static void file_sync(struct crash_file *file, bool failed) {
    for (uint32_t i = 0; i < file->page_count; i++) {
        struct crash_page *page = &file->pages[i];
        if (page->dirty && !failed) page_settled(page);
        page->dirty = false;
    }
    if (file->size_dirty && !failed) {
        file->sizes[0] = file->sizes[file->size_count - 1];
        file->size_count = 1;
    }
    file->size_dirty = false;
}

static uint32_t crash_name(const char *name) {
    for (uint32_t i = 0; i < crash.name_count; i++) {
        if (strcmp(crash.names[i].name, name) == 0) return i;
    }
    crash.names = trace_grown(crash.names, crash.name_count, &crash.name_capacity, sizeof *crash.names);
    struct crash_name *made = &crash.names[crash.name_count];
    *made = (struct crash_name){.maybe = {-1}, .count = 1};
    snprintf(made->name, sizeof made->name, "%s", name);
    return crash.name_count++;
}

static void name_changed(uint32_t which, int32_t file) {
    struct crash_name *name = &crash.names[which];
    if (name->count == VERSIONS_MAX || crash.pending_count == VERSIONS_MAX) abort();
    name->maybe[name->count++] = file;
    crash.pending[crash.pending_count].name = which;
    crash.pending[crash.pending_count++].file = file;
}

static struct crash_file *crash_file(uint32_t index) {
    while (crash.file_count <= index) {
        crash.files = trace_grown(crash.files, crash.file_count, &crash.file_capacity, sizeof *crash.files);
        crash.files[crash.file_count++] = (struct crash_file){.size_count = 1, .version = 1};
    }
    return &crash.files[index];
}

static void names_settled(void) {
    for (uint32_t i = 0; i < crash.name_count; i++) {
        crash.names[i].maybe[0] = crash.names[i].maybe[crash.names[i].count - 1];
        crash.names[i].count = 1;
    }
    crash.pending_count = 0;
}

/* One operation more. */
static void crash_apply(const struct trace_op *op) {
    if (op->kind == TRACE_NAMES) {
        if (!op->failed) names_settled();
        return;
    }
    struct crash_file *file = crash_file(op->file);
    const char *name = trace.files[op->file].name;
    switch (op->kind) {
    case TRACE_CREATE: name_changed(crash_name(name), (int32_t)op->file); break;
    case TRACE_UNLINK: name_changed(crash_name(name), -1); break;
    case TRACE_WRITE: file_write(file, op->offset, op->bytes, op->size); break;
    case TRACE_TRUNCATE: file_truncate(file, op->offset); break;
    case TRACE_SYNC: file_sync(file, op->failed); break;
    case TRACE_NAMES: break;
    }
}

static void crash_end(void) {
    for (uint32_t f = 0; f < crash.file_count; f++) {
        for (uint32_t p = 0; p < crash.files[f].page_count; p++) {
            for (uint32_t i = 0; i < crash.files[f].pages[p].count; i++)
                free(crash.files[f].pages[p].maybe[i]);
            free(crash.files[f].pages[p].maybe);
        }
        free(crash.files[f].pages);
    }
    free(crash.files);
    free(crash.names);
    crash = (struct crash){.random = 1};
}

/* Before the first operation: what the trace was begun with. The folders are there, and the caller's to remove. */
static void crash_begin(const char *store, const char *folder) {
    crash_end();
    snprintf(crash.store, sizeof crash.store, "%s", store);
    snprintf(crash.folder, sizeof crash.folder, "%s", folder);
    for (uint32_t i = 0; i < trace.file_count && trace.files[i].given != NULL; i++) {
        struct crash_file *file = crash_file(i);
        file_write(file, 0, trace.files[i].given, trace.files[i].given_size);
        file_sync(file, false);
        crash.names[crash_name(trace.files[i].name)].maybe[0] = (int32_t)i;
    }
}

/* ---- a directory of it ---- */

enum crash_which { LATEST, OLDEST, ANY };

struct crash_plan {
    enum crash_which pages, sizes, names;
    uint32_t odd;    /* of the pages that are in doubt this one is the other way; UINT32_MAX = none */
    uint32_t prefix; /* of the names' changes so many; UINT32_MAX: see names */
};
static const struct crash_plan process_died = {LATEST, LATEST, LATEST, UINT32_MAX, UINT32_MAX};

/* Of what can be found under some name. */
static bool reachable(uint32_t file) {
    for (uint32_t n = 0; n < crash.name_count; n++) {
        for (uint32_t i = 0; i < crash.names[n].count; i++) {
            if (crash.names[n].maybe[i] == (int32_t)file) return true;
        }
    }
    return false;
}
static uint32_t pages_in_doubt(void) {
    uint32_t count = 0;
    for (uint32_t f = 0; f < crash.file_count; f++) {
        if (!reachable(f)) continue;
        for (uint32_t p = 0; p < crash.files[f].page_count; p++)
            count += crash.files[f].pages[p].count > 1;
    }
    return count;
}
static bool anything_in_doubt(void) {
    for (uint32_t f = 0; f < crash.file_count; f++) {
        if (reachable(f) && crash.files[f].size_count > 1) return true;
    }
    return crash.pending_count > 0 || pages_in_doubt() > 0;
}

/* Some bytes that stood in the block before. */
static void stale(uint8_t *to, size_t size, uint32_t but) {
    uint32_t f = crash_random(crash.file_count);
    if (f != but && crash.files[f].page_count > 0 && crash_random(2) == 0 &&
        strcmp(trace.files[f].name, trace.files[but].name) != 0) {
        const struct crash_page *page = &crash.files[f].pages[crash_random(crash.files[f].page_count)];
        const uint8_t *image = page->count > 0 ? page->maybe[crash_random(page->count)] : NULL;
        if (image != NULL) {
            memcpy(to, image, size);
            return;
        }
    }
    for (size_t i = 0; i < size; i++)
        to[i] = (uint8_t)crash_random(256);
}

static void any_version(const struct crash_page *page, uint32_t file, uint8_t *to, size_t at, size_t size) {
    uint32_t which = crash_random(page->count + (page->fresh ? 2 : 0));
    if (which == page->count + 1) {
        stale(to + at, size, file);
    } else if (which == page->count || page->maybe[which] == NULL) {
        memset(to + at, 0, size);
    } else {
        memcpy(to + at, page->maybe[which] + at, size);
    }
}

/* Returns whether it is what memory has. */
static bool make_page(const struct crash_page *page, uint32_t file, enum crash_which which, uint8_t *to) {
    if (which == ANY && crash_random(4) == 0) { /* torn */
        for (size_t at = 0; at < PAGE; at += SECTOR)
            any_version(page, file, to, at, SECTOR);
        return false;
    }
    if (which == ANY) {
        any_version(page, file, to, 0, PAGE);
        return false;
    }
    const uint8_t *image = page->maybe[which == OLDEST ? 0 : page->count - 1];
    if (image == NULL) {
        memset(to, 0, PAGE);
    } else {
        memcpy(to, image, PAGE);
    }
    return which == LATEST;
}

static uint64_t make_size(const struct crash_file *file, enum crash_which which) {
    const uint64_t *sizes = file->sizes;
    uint32_t count = file->size_count;
    if (which != ANY) return sizes[which == OLDEST ? 0 : count - 1];
    if (count == 1 || crash_random(2) == 0) return sizes[crash_random(count)];
    uint64_t low = sizes[0], high = sizes[0];
    for (uint32_t i = 0; i < count; i++) {
        if (sizes[i] < low) low = sizes[i];
        if (sizes[i] > high) high = sizes[i];
    }
    return low + crash_random((uint32_t)(high - low) + 1);
}

static void write_file(const char *path, const uint8_t *bytes, uint64_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || pwrite(fd, bytes, size, 0) != (ssize_t)size) abort();
    close(fd);
}

/* *doubt counts the pages in doubt. */
static void make_file(uint32_t index, const char *name, const struct crash_plan *plan, uint32_t *doubt) {
    static uint8_t *bytes;
    static uint64_t capacity;
    struct crash_file *file = &crash.files[index];
    char path[192], copy[192];
    uint64_t size = make_size(file, plan->sizes), room = ((uint64_t)file->page_count + 1) * PAGE;
    if (size > room) abort();
    bool latest = size == file->sizes[file->size_count - 1];
    if (room > capacity) {
        bytes = realloc(bytes, room);
        capacity = room;
        if (bytes == NULL) abort();
    }
    snprintf(path, sizeof path, "%s/%s", crash.folder, name);
    snprintf(copy, sizeof copy, "%s/%u", crash.store, index);
    if (latest && plan->pages == LATEST && plan->odd == UINT32_MAX && file->stored == file->version) {
        if (link(copy, path) != 0) abort(); /* who looks at it never writes to it */
        return;
    }
    memset(bytes, 0, room);
    for (uint32_t p = 0; p < file->page_count; p++) {
        if (file->pages[p].count == 0) continue;
        enum crash_which which = plan->pages;
        if (file->pages[p].count > 1 && (*doubt)++ == plan->odd) which = which == LATEST ? OLDEST : LATEST;
        latest = make_page(&file->pages[p], index, which, bytes + (uint64_t)p * PAGE) && latest;
    }
    if (!latest) {
        write_file(path, bytes, size);
        return;
    }
    unlink(copy);
    write_file(copy, bytes, size);
    file->stored = file->version;
    if (link(copy, path) != 0) abort();
}

/* Makes it in crash.folder. */
static void crash_make(const struct crash_plan *plan) {
    uint32_t doubt = 0;
    folder_clear(crash.folder);
    crash.names_ordered = plan->names != ANY || plan->prefix != UINT32_MAX;
    for (uint32_t n = 0; n < crash.name_count; n++) {
        const struct crash_name *name = &crash.names[n];
        int32_t file = name->maybe[plan->names == OLDEST || plan->prefix != UINT32_MAX ? 0 : name->count - 1];
        if (plan->names == ANY && plan->prefix == UINT32_MAX) file = name->maybe[crash_random(name->count)];
        for (uint32_t i = 0; plan->prefix != UINT32_MAX && i < plan->prefix && i < crash.pending_count; i++) {
            if (crash.pending[i].name == n) file = crash.pending[i].file;
        }
        if (file >= 0) make_file((uint32_t)file, name->name, plan, &doubt);
    }
}

/* Every way that is walked behind an operation: `look` is called with each directory. The systematic ones, then
 * `seeded` at random; of many pages in doubt those at both ends, and some between. */
static void crash_power(uint32_t seeded, void (*look)(void *self), void *self) {
    enum { EACH_END = 5, BETWEEN = 3 };
    static const struct crash_plan plain[] = {
        {LATEST, LATEST, LATEST, UINT32_MAX, UINT32_MAX}, {OLDEST, OLDEST, OLDEST, UINT32_MAX, UINT32_MAX},
        {OLDEST, LATEST, LATEST, UINT32_MAX, UINT32_MAX}, {LATEST, OLDEST, LATEST, UINT32_MAX, UINT32_MAX},
        {LATEST, LATEST, OLDEST, UINT32_MAX, UINT32_MAX}, {OLDEST, OLDEST, LATEST, UINT32_MAX, UINT32_MAX},
    };
    bool doubt = anything_in_doubt();
    for (size_t i = 0; i < (doubt ? sizeof plain / sizeof plain[0] : 1); i++) {
        crash_make(&plain[i]);
        look(self);
    }
    if (!doubt) return;
    for (uint32_t prefix = 0; prefix <= crash.pending_count; prefix++) {
        struct crash_plan plan = {LATEST, LATEST, LATEST, UINT32_MAX, prefix};
        crash_make(&plan);
        look(self);
    }
    uint32_t pages = pages_in_doubt();
    for (uint32_t step = 0, page = 0; page < pages; step++) {
        struct crash_plan missing = {LATEST, LATEST, LATEST, page, UINT32_MAX};
        struct crash_plan alone = {OLDEST, LATEST, LATEST, page, UINT32_MAX};
        crash_make(&missing);
        look(self);
        crash_make(&alone);
        look(self);
        if (page + EACH_END >= pages || step < EACH_END) {
            page++;
        } else {
            uint32_t rest = pages - EACH_END - page;
            page += step < EACH_END + BETWEEN ? 1 + crash_random(rest) : rest;
        }
    }
    for (uint32_t i = 0; i < seeded; i++) {
        static const enum crash_which some[] = {LATEST, LATEST, OLDEST, ANY, ANY};
        struct crash_plan plan = {ANY, some[crash_random(5)], some[crash_random(5)], UINT32_MAX, UINT32_MAX};
        if (crash_random(3) == 0) plan.prefix = crash_random(crash.pending_count + 1);
        crash_make(&plan);
        look(self);
    }
}
#endif
