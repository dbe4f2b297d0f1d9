/* orphans.h - spools of exporters that the configuration does not name any more, and the journal of a Weir that is not
 * durable any more: nobody sends what is in them. */
#ifndef WEIR_SPOOL_ORPHANS_H
#define WEIR_SPOOL_ORPHANS_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The folder of an exporter's spool below spool.directory, a slash in its name as "+". */
void weir_spool_folder(const char *directory, const char *exporter, char *out, size_t out_size);
/* Folders below DIRECTORY/exporters that hold segments with something in them, and are none of the exporters' (count
 * names, as `type` or `type/name`), and DIRECTORY/journal where nobody reads it: each is logged, with what to do.
 * Returns the bytes of all. Changes nothing. */
uint64_t weir_spool_orphans(const char *directory, const char *const *exporters, size_t count, bool durable);
#endif
