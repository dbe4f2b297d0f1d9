#include "collector/emit/report.h"

#include "collector/core/buffer.h"

#include <inttypes.h>
#include <stdio.h>

static double seconds(const struct weir_emit_counts *counts) {
    return (double)(counts->ended_ns - counts->began_ns) / 1e9;
}
/* Nobody answers a datagram. */
static double rate(const struct weir_emit_report *report) {
    const struct weir_emit_counts *counts = report->counts;
    double elapsed = seconds(counts);
    uint64_t spans = report->options->via == WEIR_EMIT_DATAGRAM ? counts->sent : counts->acknowledged;
    return elapsed > 0 ? (double)spans / elapsed : 0;
}

void weir_emit_report_progress(struct weir_emit_report *report, uint64_t now_ns) {
    const struct weir_emit_counts *counts = report->counts;
    if (report->shown_ns == 0) report->shown_ns = counts->began_ns;
    if (now_ns - report->shown_ns < WEIR_S) return;
    bool datagrams = report->options->via == WEIR_EMIT_DATAGRAM;
    uint64_t spans = datagrams ? counts->sent : counts->acknowledged;
    double lately = (double)(spans - report->shown_spans) * 1e9 / (double)(now_ns - report->shown_ns);
    report->shown_ns = now_ns;
    report->shown_spans = spans;
    fprintf(stderr, "\r%5.0f s  sent %" PRIu64, (double)(now_ns - counts->began_ns) / 1e9, counts->sent);
    if (!datagrams) fprintf(stderr, "  acknowledged %" PRIu64, spans);
    fprintf(stderr, " (%.0f/s)", lately);
    uint64_t bad = counts->refused + counts->rejected + counts->unknown;
    if (bad > 0) fprintf(stderr, "  not taken %" PRIu64, bad);
    if (report->options->spans != 0)
        fprintf(stderr, "  %.0f %%", 100 * (double)report->play->truth.spans / (double)report->options->spans);
    fputs("\033[K", stderr);
    fflush(stderr);
}

void weir_emit_report_clear(const struct weir_emit_report *report) {
    if (report->shown_spans != 0) fputs("\r\033[K", stderr);
}

static void print_statsd(const struct weir_emit_report *report) {
    if (report->statsd == NULL) return;
    printf("statsd        %" PRIu64 " lines in %" PRIu64 " datagrams, %" PRIu64 " not sent\n", report->statsd->lines,
           report->statsd->datagrams, report->statsd->failed);
}

void weir_emit_report_text(const struct weir_emit_report *report) {
    const struct weir_emit_counts *counts = report->counts;
    bool datagrams = report->options->via == WEIR_EMIT_DATAGRAM;
    const struct weir_emit_truth *truth = &report->play->truth;
    printf("played        %" PRIu64 " spans in %" PRIu64 " traces", truth->spans, truth->traces);
    if (truth->sampled_spans != truth->spans) printf(", %" PRIu64 " spans of them sampled", truth->sampled_spans);
    printf("\nsent          %" PRIu64 " spans in %" PRIu64 " %s", counts->sent, counts->requests,
           datagrams ? "datagrams" : "requests");
    if (counts->sent > 0)
        printf(", %" PRIu64 " bytes (%.1f a span)", counts->bytes, (double)counts->bytes / (double)counts->sent);
    if (datagrams) {
        printf("\nnot sent      %" PRIu64 "\n", counts->refused);
        if (counts->message[0] != 0) printf("last reason   %s\n", counts->message);
        print_statsd(report);
        printf("elapsed       %.3f s, %.0f spans/s\n", seconds(counts), rate(report));
        return;
    }
    printf("\nacknowledged  %" PRIu64 "\nrefused       %" PRIu64, counts->acknowledged, counts->refused);
    for (int code = 0; code < WEIR_RPC_CODES; code++) {
        if (counts->refused_by[code] > 0) printf("  %s %" PRIu64, weir_rpc_code_name(code), counts->refused_by[code]);
    }
    printf("\nrejected      %" PRIu64 "\nunknown       %" PRIu64 "\n", counts->rejected, counts->unknown);
    if (counts->retried > 0) printf("sent again    %" PRIu64 " requests\n", counts->retried);
    if (counts->reconnects > 0) printf("reconnected   %" PRIu64 " times\n", counts->reconnects);
    if (counts->message[0] != 0) printf("last reason   %s\n", counts->message);
    print_statsd(report);
    printf("elapsed       %.3f s, %.0f spans/s; an answer took %.2f ms (median), %.2f ms (99 %%)\n", seconds(counts),
           rate(report), (double)weir_emit_wait_quantile(counts, 0.5) / 1e6,
           (double)weir_emit_wait_quantile(counts, 0.99) / 1e6);
}

static void put_text(struct weir_buffer *out, const char *text) {
    weir_buffer_byte(out, '"');
    for (; *text != 0; text++) {
        if (*text == '"' || *text == '\\') weir_buffer_byte(out, '\\');
        weir_buffer_byte(out,
                         (uint8_t)*text < 0x80 ? (uint8_t)*text : '?'); /* a cut message may end inside a character */
    }
    weir_buffer_byte(out, '"');
}

void weir_emit_report_json(const struct weir_emit_report *report) {
    const struct weir_emit_counts *counts = report->counts;
    const struct weir_emit_truth *truth = &report->play->truth;
    struct weir_buffer out = {0};
    const struct {
        const char *name;
        uint64_t value;
    } numbers[] = {
        {"seed", report->options->seed},   {"traces", truth->traces},      {"played", truth->spans},
        {"sampled", truth->sampled_spans}, {"sent", counts->sent},         {"acknowledged", counts->acknowledged},
        {"refused", counts->refused},      {"rejected", counts->rejected}, {"unknown", counts->unknown},
        {"requests", counts->requests},    {"retried", counts->retried},   {"reconnects", counts->reconnects},
        {"bytes", counts->bytes},
    };
    weir_buffer_byte(&out, '{');
    if (report->options->via == WEIR_EMIT_DATAGRAM)
        weir_buffer_printf(&out, "\"datagrams\": %" PRIu64 ", ", counts->requests);
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
        weir_buffer_printf(&out, "\"%s\": %" PRIu64 ", ", numbers[i].name, numbers[i].value);
    weir_buffer_text(&out, "\"codes\": {");
    const char *between = "";
    for (int code = 0; code < WEIR_RPC_CODES; code++) {
        if (counts->refused_by[code] == 0) continue;
        weir_buffer_printf(&out, "%s\"%s\": %" PRIu64, between, weir_rpc_code_name(code), counts->refused_by[code]);
        between = ", ";
    }
    weir_buffer_text(&out, "}, \"reason\": ");
    put_text(&out, counts->message);
    if (report->statsd != NULL)
        weir_buffer_printf(
            &out, ", \"statsd\": {\"lines\": %" PRIu64 ", \"datagrams\": %" PRIu64 ", \"failed\": %" PRIu64 "}",
            report->statsd->lines, report->statsd->datagrams, report->statsd->failed);
    weir_buffer_printf(
        &out, ", \"seconds\": %.6f, \"spans_per_second\": %.1f, \"answer_p50_ms\": %.3f, \"answer_p99_ms\": %.3f}\n",
        seconds(counts), rate(report), (double)weir_emit_wait_quantile(counts, 0.5) / 1e6,
        (double)weir_emit_wait_quantile(counts, 0.99) / 1e6);
    if (!out.failed) fwrite(out.bytes, 1, out.size, stdout);
    weir_buffer_free(&out);
}
