"""`python -m benchmarks.charts results.json`: draw a run's charts beside it, or in the folder that is named."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.charts import draw_all


def main(arguments: Sequence[str] | None = None) -> None:
    """The files are named after the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.charts", description="Draw the charts of a run.")
    parser.add_argument("results", type=Path, help="what `make bench` wrote")
    parser.add_argument("--folder", type=Path, help="where to draw (where the results are)")
    options = parser.parse_args(arguments)
    document = json.loads(options.results.read_text())
    for path in draw_all(document, options.folder or options.results.parent, f"{options.results.stem}-"):
        print(path)


if __name__ == "__main__":
    main()
