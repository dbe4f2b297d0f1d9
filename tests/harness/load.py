"""A steady load beside what a scenario does meanwhile, and what became of it, span by span."""

import threading

from harness.catch import span_key


class Load:
    """`weir emit` at a steady rate for so long; starts at once."""

    def __init__(self, one, seconds: float, *options, rate: int):
        self.spans = int(seconds * rate) // 8 * 8
        self.summary: dict = {}
        self.thread = threading.Thread(target=self._play, args=(one, rate, options))
        self.thread.start()

    def _play(self, one, rate, options):
        self.summary = one.emit("--rate", rate, *options, spans=self.spans, timeout=self.spans / rate + 120)

    @property
    def running(self) -> bool:
        return self.thread.is_alive()

    def end(self) -> int:
        """Waits for its end; how many spans were sent, all of them acknowledged."""
        self.thread.join()
        assert self.summary.get("acknowledged") == self.spans, self.summary
        return self.spans


def truth(one) -> set[int]:
    """What the file exporter has, each span once."""
    spans = [span_key(span) for span in one.cat()]
    assert len(set(spans)) == len(spans), "the file has a span twice"
    return set(spans)
