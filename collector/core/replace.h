/* replace.h - a file's content replaced at once: whoever reads it sees the old bytes or the new ones, also after a
 * crash. By a temporary file in the same folder, fsync and rename. Mode and owner of a file that is there are kept as
 * far as the process may; a new one is 0644. A symbolic link stays, and what it points to is replaced. */
#ifndef WEIR_CORE_REPLACE_H
#define WEIR_CORE_REPLACE_H
#include "collector/core/error.h"

#include <stddef.h>

/* On failure the file is as it was, and err->text says why. */
enum weir_status weir_file_replace(const char *path, const void *bytes, size_t size, struct weir_error *err);
/* Has it just these bytes? False also when it cannot be read. */
bool weir_file_has(const char *path, const void *bytes, size_t size);
#endif
