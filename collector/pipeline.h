/* pipeline.h - builds, wires, starts and drains: the one file that knows all rooms.
 *
 *   new    configuration, names, budget, series, ledger, queues, lanes, receivers on free ports, admin
 *   stop   receivers stop -> lanes hand over and close their batches -> queues send what they hold -> the ledger's last
 * line */
#ifndef WEIR_PIPELINE_H
#define WEIR_PIPELINE_H
#include "collector/config/config.h"
#include "collector/core/buffer.h"

struct weir_pipeline;

/* path "" = no file. Opens everything and starts; what it lacks is told on stderr. *pipeline stays NULL on failure. */
enum weir_status weir_pipeline_start(struct weir_pipeline **pipeline, const char *path, struct weir_error *err);
/* Reads configuration and policy again. true: in force on every lane when this returns; `answer` says what only a
 * restart can change. false: nothing changed, `answer` says why and where. Any thread. */
bool weir_pipeline_reload(struct weir_pipeline *pipeline, struct weir_buffer *answer);
/* Drains within drain_timeout, then frees. */
void weir_pipeline_stop(struct weir_pipeline *pipeline);
#endif
