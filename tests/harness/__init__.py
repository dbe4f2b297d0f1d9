"""Starts Weir and the programs around it on free ports of 127.0.0.1, asks them questions, and stops them by process id.

net    ports, small HTTP client          process  one program: log, readiness, CPU, end
series a page of /metrics as numbers     weir     Weir itself: configuration, ledger, emit, cat
envoy, zipkin, prometheus, sink          the programs beside it
alertmanager, rules, recorded            who is told of alerts, rules in a hurry, pages of proxies that nobody runs here
fault_proxy, load                        what breaks the way to them, and a steady load meanwhile
Used by tests/scenario, tests/bench and examples/demo; the standard library and prometheus_client only.
"""
