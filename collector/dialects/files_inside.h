/* files_inside.h - what the dialects of files share. */
#ifndef WEIR_DIALECTS_FILES_INSIDE_H
#define WEIR_DIALECTS_FILES_INSIDE_H
#include "collector/dialects/files.h"

struct weir_file_source {
    const struct weir_plan_service *plan;
    const struct weir_names *names;
    const char *service; /* as asked for */
    bool ignore_incoming;
};

void weir_file_nginx(const struct weir_file_source *source, bool otel, struct weir_buffer *out);
void weir_file_linkerd1(const struct weir_file_source *source, struct weir_buffer *out);
void weir_file_envoy(const struct weir_file_source *source, struct weir_buffer *out);
void weir_file_otel_env(const struct weir_file_source *source, struct weir_buffer *out);

/* "# What service "edge" samples, ...": whose, which version, that it is made. */
void weir_file_head(const struct weir_file_source *source, const char *what, struct weir_buffer *out);
/* A comment a row that cannot be told. */
void weir_file_untold(const struct weir_file_source *source, struct weir_buffer *out);
/* A name inside a comment: printable ASCII as it is, all else as \xHH. A line's end is one in more than one alphabet:
 * YAML 1.1 has also U+0085, U+2028 and U+2029. */
void weir_file_name(const char *text, size_t size, struct weir_buffer *out);
/* Whole millionths as a decimal without an exponent: 0.000001, 0.25, 1. */
void weir_file_rate(double rate, struct weir_buffer *out);
#endif
