/* What a server may answer to an export. The first byte says how: bit 0 HTTP or gRPC, bits 1-2 the compression of the
 * request. Then headers, each a byte that says which, one for its size, and its value, up to one of size 0xff; the rest
 * is the body, in pieces. */
#include "exporters/otlp/verdict.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char *const names[] = {
        ":status",       "grpc-status",  "grpc-message", "grpc-status-details-bin", "grpc-accept-encoding",
        "grpc-encoding", "content-type", "retry-after"};
    static const char *const types[] = {NULL, "application/x-protobuf", "application/json", "text/html"};
    struct weir_rpc_answer answer;
    struct weir_otlp_verdict verdict;
    if (size < 2) return 0;
    bool http = data[0] & 1;
    enum weir_otlp_encoding encoding = (data[0] >> 1 & 3) % WEIR_OTLP_ENCODINGS;
    const char *type = types[data[0] >> 3 & 3];
    uint64_t retry_after_s = data[1];
    weir_rpc_answer_reset(&answer);
    answer.http_status = http ? 200 + (data[1] >> 4) * 50 + (data[1] & 15) : -1;
    data += 2;
    size -= 2;
    while (size >= 2 && data[1] != 0xff) {
        const char *name = names[data[0] & 7];
        size_t value = data[1] < size - 2 ? data[1] : size - 2;
        weir_rpc_answer_header(&answer, name, strlen(name), (const char *)data + 2, value);
        data += 2 + value;
        size -= 2 + value;
    }
    if (size >= 2) {
        data += 2;
        size -= 2;
    }
    for (size_t piece = 1; size > 0; piece = piece * 3 % 977 + 1) {
        size_t now = piece < size ? piece : size;
        weir_rpc_answer_data(&answer, data, now);
        data += now;
        size -= now;
    }
    if (http)
        weir_otlp_verdict_http(&answer, type, retry_after_s, encoding, &verdict);
    else
        weir_otlp_verdict_grpc(&answer, encoding, &verdict);
    if (verdict.outcome >= WEIR_OTLP_UNREACHABLE) abort();                                    /* it was an answer */
    if (verdict.outcome == WEIR_OTLP_ENCODING_REFUSED && encoding == WEIR_OTLP_NONE) abort(); /* it would not end */
    if ((verdict.rejected > 0) && verdict.outcome > WEIR_OTLP_UNREADABLE) abort();
    if (memchr(verdict.why, 0, sizeof verdict.why) == NULL || strpbrk(verdict.why, "\"\n\x1b") != NULL) abort();
    if (verdict.retry_after_ns > 86400ull * 1000000000) abort();
    return 0;
}
