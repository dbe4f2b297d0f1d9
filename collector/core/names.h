/* names.h - strings that repeat (services, operations, peers, label values) as small numbers, one table for the
 * process. Reading is lock-free for any thread; a new name takes a mutex. A name is never moved, and an id means the
 * same in every lane. Bounded in count and in bytes: beyond, weir_names_intern() answers WEIR_NAME_OVERFLOW and counts.
 * The hash is keyed at random, so that no sender can make its names collide. */
#ifndef WEIR_CORE_NAMES_H
#define WEIR_CORE_NAMES_H
#include <stddef.h>
#include <stdint.h>

enum { WEIR_NAME_NONE = 0 /* "" */, WEIR_NAME_OVERFLOW = 1 /* "overflow" */ };

struct weir_names;

struct weir_names *weir_names_new(uint32_t count_max, size_t bytes_max);
/* Bytes need not end in NUL and are copied; longer than WEIR_NAME_BYTES_MAX is cut there on a character's border. */
#define WEIR_NAME_BYTES_MAX 256
uint32_t weir_names_intern(struct weir_names *names, const void *bytes, size_t size);
/* For names that somebody only asks for, and of which there may be any number: a new one is taken up while a half of
 * the table is free, so that those that are counted by have their place. WEIR_NAME_NONE: it was not. */
uint32_t weir_names_admit(struct weir_names *names, const void *bytes, size_t size);
/* The id, or WEIR_NAME_NONE when it was never interned. */
uint32_t weir_names_find(const struct weir_names *names, const void *bytes, size_t size);
/* NUL-terminated, valid as long as the table; an unknown id reads as "". size may be NULL. */
const char *weir_names_text(const struct weir_names *names, uint32_t id, size_t *size);
uint64_t weir_names_hash(const struct weir_names *names, const void *bytes, size_t size);
uint32_t weir_names_count(const struct weir_names *names);
uint64_t weir_names_overflows(const struct weir_names *names); /* how often the bound was met */
void weir_names_free(struct weir_names *names);
#endif
