"""Dashboards as code. `python -m grafana`, with dashboards/ on the path, writes json/."""

import json
import pathlib

from . import itself, overview, proxies, sampling, service
from .vocabulary import Board, to_json

FOLDER = pathlib.Path(__file__).resolve().parent
BOARDS: tuple[Board, ...] = (overview.board, service.board, proxies.board, sampling.board, itself.board)


def generated() -> dict[pathlib.Path, str]:
    """Each file of json/ and what has to be in it."""
    return {
        FOLDER / "json" / f"{board.uid}.json": json.dumps(to_json(board), indent=1, sort_keys=True, ensure_ascii=False) + "\n"
        for board in BOARDS
    }
