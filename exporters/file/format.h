/* format.h - trace files as the file exporter writes and `weir cat` reads them.
 *
 *   file   = header frame*                       traces-YYYYMMDDThhmmssZ-N.otlp.zst, time in UTC of its first batch
 *   header = zstd skippable frame                57 2a 4d 18 · 0c 00 00 00 · "weir-traces" · version 01
 *   frame  = zstd frame with content checksum    holds whole records, one after the other; one batch is one record is
 * one frame record = length, 4 bytes big endian · ExportTraceServiceRequest (opentelemetry-proto v1) of that length
 *
 * `zstd -dc FILE` skips the header and gives the records, which is what the file exporter of the OpenTelemetry
 * Collector writes with `format: proto`. Frames are independent: one that is cut or broken costs its own batch and no
 * other. Source: RFC 8878, 3.1.1 (frames) and 3.1.2 (skippable frames, magic 0x184D2A50 to 0x184D2A5F). */
#ifndef WEIR_EXPORTERS_FILE_FORMAT_H
#define WEIR_EXPORTERS_FILE_FORMAT_H

#define WEIR_FILE_HEADER                                                                                               \
    { 0x57, 0x2a, 0x4d, 0x18, 12, 0, 0, 0, 'w', 'e', 'i', 'r', '-', 't', 'r', 'a', 'c', 'e', 's', 1 }
enum {
    WEIR_FILE_HEADER_BYTES = 20,
    WEIR_FILE_VERSION_AT = 19,
    WEIR_FILE_WINDOW_LOG_MAX = 23, /* 8 MiB: what any reader of zstd takes without being told (RFC 8878, 3.1.1.1.2) */
};
#define WEIR_FILE_PREFIX "traces-"
#define WEIR_FILE_SUFFIX ".otlp.zst"
#endif
