/* report.h - what people and programs read of a run: the progress line, the summary, the JSON object. */
#ifndef WEIR_EMIT_REPORT_H
#define WEIR_EMIT_REPORT_H
#include "collector/emit/client.h"
#include "collector/emit/statsd.h"

struct weir_emit_report {
    const struct weir_emit_options *options;
    const struct weir_emit_play *play;
    const struct weir_emit_counts *counts;
    const struct weir_emit_statsd *statsd; /* NULL = none */
    uint64_t shown_ns, shown_spans;        /* of the last progress line */
};

void weir_emit_report_progress(struct weir_emit_report *report, uint64_t now_ns); /* once a second, on stderr */
void weir_emit_report_clear(const struct weir_emit_report *report);               /* takes the progress line away */
void weir_emit_report_text(const struct weir_emit_report *report);                /* on stdout */
void weir_emit_report_json(const struct weir_emit_report *report);                /* on stdout */
#endif
