"""What a look saw, raw: a JSON object a line, in a file of its run's folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from stacklab.errors import ResultsError

SEEN_FILE = "seen.jsonl"


def write_seen(folder: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write the rows into the folder of a run that is being written."""
    (folder / SEEN_FILE).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def read_seen(folder: Path) -> list[dict[str, Any]]:
    """The rows of a look, as they were seen; ResultsError if the file is missing or damaged."""
    file = folder / SEEN_FILE
    try:
        return [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise ResultsError(f"{file}: cannot be read ({error}); delete the run or look again") from error
