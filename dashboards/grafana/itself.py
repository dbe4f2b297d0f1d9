"""Weir itself: does the ledger balance, what comes in, what is lost, how full is it, what do back ends do."""

from .common import ANY_IS_BAD, ANY_IS_ODD, EVENTS, SELF, TO_OVERVIEW, TO_SAMPLING, TO_TRACES, ZIPKIN, sources
from .series import lately, now, of, rate, share
from .vocabulary import BLUE, GREEN, RED, YELLOW, Board, Query, Row, Unit, Words, bars, graph, number

EACH = "instance"
FULL = ((None, GREEN), (0.7, YELLOW), (0.9, RED))
LOSSES = 'reason!~"merged|no_exporter"'

figures = Row(
    "Is Weir well?",
    TO_OVERVIEW,
    (
        number(
            "Ledger",
            Unit.COUNT,
            "Whether every span that Weir accepted is in one place. Under load it may differ for a moment; what was not 0 all through a minute is shown.",
            Query(f"max(min_over_time(abs({of('weir_ledger_imbalance_spans')})[1m:15s]))"),
            words=(Words(0, "Balanced", GREEN), Words(1, "Not balanced", RED)),
        ),
        number(
            "Lost in five minutes",
            Unit.COUNT,
            "Spans dropped for any reason but sampling.",
            Query(lately("weir_spans_dropped_total", where=LOSSES)),
            steps=ANY_IS_BAD,
        ),
        number(
            "Refused in five minutes",
            Unit.COUNT,
            "Spans that a receiver did not accept: senders were told, and may send them again.",
            Query(lately("weir_spans_refused_total")),
            steps=ANY_IS_ODD,
        ),
        number(
            "Back ends away",
            Unit.COUNT,
            "Exporters whose queue waits since the back end failed.",
            Query(now("weir_exporter_paused")),
            steps=ANY_IS_BAD,
        ),
        number(
            "Configuration",
            Unit.COUNT,
            "Whether the last reload was taken, by every Weir. A failed one changes nothing: the log says what was wrong.",
            Query(f"1 - {now('weir_config_last_reload_successful', how='min')}"),
            words=(Words(0, "As the file says", GREEN), Words(1, "Last reload failed", RED)),
        ),
        number(
            "Running for",
            Unit.SECONDS,
            "Since the Weir that was started last began.",
            Query(f"min(time() - ({of('process_start_time_seconds')} and on (job, instance) {of('weir_build_info')}))"),
        ),
    ),
)

ledger = Row(
    "Ledger: every span is in one place",
    TO_SAMPLING,
    (
        graph(
            "Where spans went",
            Unit.PER_SECOND,
            "Spans accepted, left out by sampling, dropped, delivered. Those that an exporter did not get are held.",
            Query(rate("weir_spans_received_total"), "accepted"),
            Query(rate("weir_spans_sampled_out_total", "stage"), "left out by {{stage}}"),
            Query(f"{rate('weir_spans_dropped_total', 'reason')} > 0", "dropped: {{reason}}"),
            Query(rate("weir_spans_delivered_total", "exporter"), "delivered to {{exporter}}"),
        ),
        graph(
            "Spans held",
            Unit.COUNT,
            "Spans that are in Weir now, by where. They should come and go; what only grows is in front of a back end "
            "that does not take it.",
            Query(now("weir_spans_held", "where"), "{{where}}"),
            stacked=True,
        ),
        graph(
            "Spans that cannot be placed",
            Unit.COUNT,
            "weir_ledger_imbalance_spans of each exporter's account. Always 0 when nothing moves; anything else is a mistake in the program.",
            Query(now("weir_ledger_imbalance_spans", "instance, exporter", how="max"), "{{instance}} {{exporter}}"),
        ),
    ),
)

intake = Row(
    "What comes in, and what does not",
    TO_OVERVIEW,
    (
        graph(
            "Spans by receiver",
            Unit.PER_SECOND,
            "Spans that each receiver accepted.",
            Query(rate("weir_spans_received_total", "receiver"), "{{receiver}}"),
            stacked=True,
        ),
        graph(
            "Spans refused",
            Unit.PER_SECOND,
            "`memory`: more comes than memory.intake has room for. `invalid`: the sender is wrong. `closing`: Weir is ending.",
            Query(rate("weir_spans_refused_total", "reason"), "{{reason}}"),
            Query(f"{rate('weir_spans_refused_total', 'receiver')} > 0", "{{receiver}}"),
        ),
        graph(
            "Metrics by receiver",
            Unit.PER_SECOND,
            "Points of StatsD and OTLP that came, and those that were not taken.",
            Query(rate("weir_points_received_total", "receiver"), "{{receiver}}"),
            Query(f"{rate('weir_points_rejected_total', 'receiver, reason')} > 0", "{{receiver}} {{reason}}"),
        ),
        graph(
            "Datagrams",
            Unit.PER_SECOND,
            "Datagrams read, by receiver.",
            Query(rate("weir_datagrams_received_total", "receiver"), "{{receiver}}"),
        ),
        graph(
            "Datagrams lost",
            Unit.RATIO,
            "Share of datagrams that did not come through: `kernel`, the socket's buffer was full (net.core.rmem_max); `sequence`, lost on the "
            "way; `truncated`, longer than allowed.",
            Query(
                f"{rate('weir_datagrams_lost_total', 'receiver, reason')} / on (receiver) group_left () "
                f"(({rate('weir_datagrams_received_total', 'receiver')} + {rate('weir_datagrams_lost_total', 'receiver')}) > 0)",
                "{{receiver}} {{reason}}",
            ),
            steps=((None, GREEN), (0.001, YELLOW), (0.01, RED)),
        ),
        graph(
            "Connections and handshakes",
            Unit.COUNT,
            "Open connections of senders; handshakes that failed in five minutes.",
            Query(now("weir_grpc_connections"), "gRPC"),
            Query(now("weir_http_connections", "receiver"), "HTTP {{receiver}}"),
            Query(now("weir_scribe_connections"), "Scribe"),
            Query(lately("weir_tls_handshakes_total", where='result="failed"'), "TLS handshakes that failed"),
        ),
        graph(
            "gRPC answers that are errors",
            Unit.PER_SECOND,
            "Answers that were not OK, by method and code.",
            Query(f"{rate('weir_grpc_requests_total', 'code', 'code!=' + chr(34) + 'OK' + chr(34))} > 0", "{{code}}"),
        ),
        graph(
            "HTTP answers that are errors",
            Unit.PER_SECOND,
            "Answers of 4xx and 5xx, by receiver.",
            Query(
                f"{rate('weir_http_requests_total', 'receiver, code', 'code!~' + chr(34) + '2..' + chr(34))} > 0",
                "{{receiver}} {{code}}",
            ),
        ),
        graph(
            "Lines that were no StatsD",
            Unit.PER_SECOND,
            "Lines of StatsD that could not be read, by what was wrong.",
            Query(f"{rate('weir_statsd_refused_lines_total', 'reason')} > 0", "{{reason}}"),
        ),
    ),
)

memory = Row(
    "How full is it?",
    TO_OVERVIEW,
    (
        bars(
            "Bounds in use",
            Unit.RATIO,
            "How much of each bound is used, in the Weir where it is most: messages being read, undecided traces, queues and disk of exporters.",
            Query(f"max({of('weir_intake_bytes')} / ({of('weir_intake_limit_bytes')} > 0))", "messages being read"),
            Query(
                f"max({now('weir_tail_memory_bytes', 'job, instance')} / ({now('weir_tail_memory_limit_bytes', 'job, instance')} > 0))",
                "undecided traces",
            ),
            Query(
                f"max by (exporter) ({of('weir_exporter_queue_bytes')} / ({of('weir_exporter_queue_limit_bytes')} > 0))",
                "queue of {{exporter}}",
            ),
            Query(f"max by (exporter) ({of('weir_spool_bytes')} / ({of('weir_spool_limit_bytes')} > 0))", "disk of {{exporter}}"),
            Query(f"max({of('weir_journal_bytes')} / ({of('weir_journal_limit_bytes')} > 0))", "journal"),
            Query(
                f"max({of('process_open_fds')} / ({of('process_max_fds')} > 0) and on (job, instance) {of('weir_build_info')})",
                "descriptors",
            ),
            width=8,
            steps=FULL,
            top=1,
        ),
        graph(
            "Memory",
            Unit.BYTES,
            "What each Weir has of the system's memory.",
            Query(f"{of('process_resident_memory_bytes')} and on (job, instance) {of('weir_build_info')}", "{{instance}}"),
        ),
        graph(
            "Lanes: busy",
            Unit.RATIO,
            "Share of time that each lane's thread works. All at 1: more lanes, or more Weirs.",
            Query(rate("weir_lane_busy_seconds_total", "instance, lane"), "{{instance}} lane {{lane}}"),
            steps=FULL,
            top=1,
        ),
        graph(
            "Series",
            Unit.COUNT,
            'Label sets held, and values in five minutes that had no room and went to overflow="true".',
            Query(now("weir_series", EACH), "{{instance}}"),
            Query(lately("weir_series_overflow_total", EACH), "{{instance}} folded"),
            Query(lately("weir_series_expired_total", EACH), "{{instance}} forgotten"),
        ),
        graph(
            "Calls between services",
            Unit.PER_SECOND,
            "Calls of which both sides came, and those of which one stayed alone.",
            Query(rate("weir_edges_paired_total"), "both sides"),
            Query(rate("weir_edges_unpaired_total", "side"), "{{side}} alone"),
            Query(rate("weir_edges_dropped_total"), "given up early"),
        ),
        graph(
            "Attributes redacted",
            Unit.PER_SECOND,
            "Values that a rule of attributes: changed or took away, by rule.",
            Query(rate("weir_attributes_redacted_total", "rule"), "{{rule}}"),
        ),
    ),
)

exporters = Row(
    "Back ends",
    TO_SAMPLING,
    (
        graph(
            "Sends",
            Unit.PER_SECOND,
            "Batches, by how the back end took them: delivered, to be sent again, refused for good.",
            Query(rate("weir_exporter_sends_total", "exporter, outcome"), "{{exporter}} {{outcome}}"),
        ),
        graph(
            "Sends that failed",
            Unit.RATIO,
            "Share of sends that were not delivered.",
            Query(
                share(
                    rate("weir_exporter_sends_total", "exporter", 'outcome!="delivered"'),
                    rate("weir_exporter_sends_total", "exporter"),
                ),
                "{{exporter}}",
            ),
            steps=((None, GREEN), (0.01, YELLOW), (0.1, RED)),
        ),
        graph(
            "Time a send takes",
            Unit.SECONDS,
            "Mean time until a back end has answered for a batch.",
            Query(
                f"{rate('weir_exporter_send_seconds_total', 'exporter')} / ({rate('weir_exporter_sends_total', 'exporter')} > 0)",
                "{{exporter}}",
            ),
        ),
        graph(
            "Age of what waits",
            Unit.SECONDS,
            "How old the oldest batch is that an exporter still has, in memory or on disk. A back end that keeps up: below a second or two.",
            Query(now("weir_exporter_oldest_age_seconds", "exporter", how="max"), "{{exporter}}"),
            steps=((None, BLUE), (60, YELLOW), (600, RED)),
        ),
        graph(
            "Queues and disk",
            Unit.BYTES,
            "Bytes that wait in memory and in the spool, by exporter.",
            Query(now("weir_exporter_queue_bytes", "exporter"), "{{exporter}} memory"),
            Query(now("weir_spool_bytes", "exporter"), "{{exporter}} disk"),
        ),
        graph(
            "Disk: written, read, trouble",
            Unit.PER_SECOND,
            "Spans that went to disk and came back; errors, and spans that were damaged.",
            Query(rate("weir_spool_written_spans_total", "exporter"), "{{exporter}} written"),
            Query(rate("weir_spool_read_spans_total", "exporter"), "{{exporter}} read"),
            Query(f"{rate('weir_spool_errors_total', 'exporter, reason')} > 0", "{{exporter}} {{reason}}"),
            Query(f"{rate('weir_spool_damaged_spans_total', 'exporter')} > 0", "{{exporter}} damaged"),
        ),
        graph(
            "Zipkin",
            Unit.PER_SECOND,
            "Answers of Zipkin, by class; `none`: it did not answer.",
            Query(rate("weir_zipkin_posts_total", "exporter, answer"), "{{exporter}} {{answer}}"),
        ),
        graph(
            "Kafka",
            Unit.COUNT,
            "Brokers that are connected, messages that wait in the client, partitions without a leader; errors in five minutes.",
            Query(now("weir_kafka_brokers_up", "exporter"), "{{exporter}} brokers"),
            Query(now("weir_kafka_buffered_messages", "exporter"), "{{exporter}} messages that wait"),
            Query(now("weir_kafka_partitions_without_leader", "exporter"), "{{exporter}} without a leader"),
            Query(lately("weir_kafka_errors_total", "exporter, reason") + " > 0", "{{exporter}} {{reason}}"),
        ),
        graph(
            "OTLP",
            Unit.PER_SECOND,
            "Requests to OTLP endpoints by outcome.",
            Query(f"{rate('weir_otlp_requests_total', 'endpoint, outcome')} > 0", "{{endpoint}} {{outcome}}"),
        ),
        graph(
            "Journal: time of a commit",
            Unit.SECONDS,
            "With `durable: true`: how long it takes until spans are on disk, which is how long senders wait.",
            Query(f"{rate('weir_journal_commit_seconds_total')} / ({rate('weir_journal_commits_total')} > 0)", "commit"),
            width=12,
        ),
        graph(
            "Journal: what was not written",
            Unit.PER_SECOND,
            "Commits that failed, so that senders were answered without the disk; records that were lost.",
            Query(rate("weir_journal_commits_failed_total"), "commits failed"),
            Query(rate("weir_journal_records_lost_total", "type"), "records lost: {{type}}"),
            width=12,
        ),
    ),
)

cost = Row(
    "What watching costs, and reloads",
    TO_OVERVIEW,
    (
        graph(
            "Time to make a page",
            Unit.SECONDS,
            "Mean time that Weir takes for a page of /metrics, and what Prometheus takes for the scrape.",
            Query(f"{rate('weir_scrape_seconds_total', EACH)} / ({rate('weir_scrapes_total', EACH)} > 0)", "{{instance}} made"),
            Query(f"{of('scrape_duration_seconds')} and on (job, instance) {of('weir_build_info')}", "{{instance}} scraped"),
        ),
        graph(
            "Size of a page",
            Unit.BYTES,
            "Bytes of the last page, before compression.",
            Query(now("weir_scrape_bytes", EACH), "{{instance}}"),
        ),
        graph(
            "Last reload",
            Unit.SECONDS,
            "How long ago the configuration was read that is in force.",
            Query(f"time() - {of('weir_config_last_reload_success_timestamp_seconds')}", "{{instance}}"),
        ),
    ),
)

board = Board(
    SELF,
    "Weir itself",
    "Whether every span is accounted for, what comes in, what is lost, how full Weir is, and what its back ends do.",
    (figures, ledger, intake, memory, exporters, cost),
    variables=(*sources("weir_build_info"), ZIPKIN),
    links=(TO_TRACES,),
    annotations=EVENTS,
)
