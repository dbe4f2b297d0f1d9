"""Lines over UDP, and exactly their sums on /metrics."""

import pytest
from harness.net import wait_until

pytestmark = pytest.mark.sanitized


def points(one, count: int):
    """Waits until so many samples were understood or refused; the page then."""

    def seen():
        page = one.page()
        total = page.sum("weir_points_received_total", receiver="statsd") + page.sum(
            "weir_points_rejected_total", receiver="statsd"
        )
        return page if total >= count and page.value("weir_points_held") == 0 else None

    return wait_until(seen, f"{count} samples")


def send(one, *datagrams: str):
    """By turns with Weir: what is tried is not how much its socket holds."""
    sent = one.own().sum("weir_datagrams_received_total", receiver="statsd")
    for first in range(0, len(datagrams), 200):
        part = datagrams[first : first + 200]
        one.send_statsd(*part)
        sent += len(part)
        wait_until(
            lambda sent=sent: one.own().sum("weir_datagrams_received_total", receiver="statsd") >= sent, f"{sent} datagrams to come"
        )


@pytest.mark.parametrize("lanes", [1, 4])
def test_each_type_adds_up(weir, lanes):
    one = weir(lanes=lanes, exporters="{}")
    one_of_each = ("shop.orders:1|c\nshop.orders:2|c|@0.5", "shop.depth:7|g", "shop.latency:250|ms", "shop.size:10:20:30|h")
    send(one, *500 * one_of_each)
    points(one, 500 * 7)  # what comes by another socket may be another lane's: no order between them but in time
    one.send_statsd(
        "shop.depth:+5|g", "shop.depth:-2|g", "shop.users:ann|s", "shop.users:bob|s", "shop.users:ann|s", "shop.load:0.25|d"
    )
    page = points(one, 500 * 7 + 6)
    assert page.value("shop_orders_total") == 500 + 500 * 2 / 0.5
    assert page.value("shop_depth") == 10
    assert page.value("shop_latency_count") == 500
    assert page.value("shop_latency_sum") == pytest.approx(500 * 0.25)
    assert page.value("shop_size_count") == 1500
    assert page.value("shop_size_sum") == 500 * 60
    assert page.value("shop_load_sum") == 0.25
    assert page.sum("shop_users") == 2
    assert page.sum("weir_points_rejected_total") == 0
    one.balance(received=0)


def test_a_rate_is_a_weight(weir):
    """A timer at @0.0000001 stands for ten million, and costs one."""
    one = weir(exporters="{}")
    one.send_statsd("job.time:100|ms|@0.0000001", "job.time:100|ms|@0.1")
    page = points(one, 2)
    assert page.value("job_time_count") == pytest.approx(1e7 + 10)
    assert page.value("job_time_sum") == pytest.approx((1e7 + 10) * 0.1)
    one.balance(received=0)


def test_tags_are_labels(weir):
    one = weir(exporters="{}")
    one.send_statsd(
        "http.requests:3|c|#code:200,zone:eu-1",
        "http.requests:4|c|#zone:eu-1,code:200",
        "http.requests:5|c|#code:500,zone:eu-1",
        'http.requests:1|c|#flag,zone:"quoted\\',
    )
    page = points(one, 4)
    assert page.value("http_requests_total", code="200", zone="eu-1") == 7, "the order of tags does not matter"
    assert page.value("http_requests_total", code="500", zone="eu-1") == 5
    assert page.value("http_requests_total", zone='"quoted\\') == 1, "escaped on the page, as sent when read back"
    one.balance(received=0)


def test_a_bad_line_is_counted_and_its_neighbours_are_kept(weir):
    one = weir(exporters="{}")
    one.send_statsd("a.good:1|c\nnonsense\na.good:x|c\na.good:1|q\na.good:1|c|@0\n\na.good:1|c")
    page = points(one, 6)
    assert page.value("a_good_total") == 2
    assert page.sum("weir_points_rejected_total", receiver="statsd") == 4
    assert page.sum("weir_points_received_total", receiver="statsd") == 2
    # Another type under a name that is taken is refused, and counted as that.
    one.send_statsd("a.good:5|g")
    page = points(one, 7)
    assert page.value("weir_points_rejected_total", receiver="statsd", reason="conflict") == 1
    assert page.value("a_good_total") == 2
    one.balance(received=0)


def test_overflow_folds_and_totals_stay_right(weir):
    one = weir(exporters="{}", extra="aggregate: { series_per_metric_max: 50 }")
    send(one, *[f"api.calls:1|c|#user:u{i}" for i in range(400)])
    page = points(one, 400)
    assert page.sum("api_calls_total") == 400
    assert page.value("api_calls_total", overflow="true") == 350
    assert len(page.select("api_calls_total")) == 51
    one.balance(received=0)


def test_datagrams_are_counted(weir):
    one = weir(exporters="{}")
    send(one, *[f"n.c:{i}|c" for i in range(3000)])
    page = points(one, 3000)
    assert page.sum("weir_datagrams_received_total", receiver="statsd") == 3000
    assert page.sum("weir_datagrams_lost_total", receiver="statsd") == 0
    assert page.value("n_c_total") == sum(range(3000))
    one.balance(received=0)


def test_senders_are_told_apart_when_asked(weir):
    one = weir(exporters="{}", statsd="source_label: ip")
    one.send_statsd("temp:21|g")
    page = points(one, 1)
    assert page.value("temp", source="127.0.0.1") == 21
    one.balance(received=0)
