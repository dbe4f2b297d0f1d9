/* files.h - `render:` of the configuration: files for proxies that only read files, kept as what is told to them says.
 * Each entry is a follower of the board by its path, so a canary's share may be a file as well.
 *
 *   board ─ plan ─> text ─ another than on disk? ─> replaced at once (core/replace.h) ─> command ─> told
 *
 * Whoever ticks is never held up: writes are small, and a command is started, looked at, and killed with all that it
 * started when its time is over, by later ticks. A file is written again at the earliest min_interval after the last
 * time; the plan that is in force then is what it says. A file or a command that failed is tried again: a write after
 * min_interval, a command after twice as long each time, up to FILES_PAUSE_MAX. Where the text is on disk already at a
 * start nothing is written and no command runs. A failed write leaves the old file. */
#ifndef WEIR_STEER_FILES_H
#define WEIR_STEER_FILES_H
#include "collector/config/config.h"
#include "collector/core/clock.h"
#include "collector/core/metrics.h"
#include "collector/sample/steering.h"

struct weir_files;

/* NULL: out of memory. Writes nothing yet. */
struct weir_files *weir_files_new(const struct weir_config *config, struct weir_names *names,
                                  struct weir_metrics *metrics, const struct weir_clock *clock,
                                  struct weir_steering *steering);
/* Another configuration, of which it keeps copies; entries that stay as they were go on. False: out of memory, as it
 * was. Any thread. */
bool weir_files_set(struct weir_files *files, const struct weir_config *config);
/* About once a second, by one thread. */
void weir_files_tick(struct weir_files *files);
/* A command that runs is given a second to end. Accepts NULL. */
void weir_files_free(struct weir_files *files);
#endif
