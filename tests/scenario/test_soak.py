"""A minute of ./dev soak."""

import os

import pytest
from soak.soak import run

SECONDS = float(os.environ.get("WEIR_SOAK_SECONDS", "60"))


@pytest.mark.timeout(SECONDS + 900)
def test_a_minute_of_faults_costs_neither_memory_nor_descriptors_nor_spans(tmp_path):
    soak = run(tmp_path, seconds=SECONDS)
    print("\n".join(soak.lines()))
    soak.check()
