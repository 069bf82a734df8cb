"""Charts of a run, as SVG, from its JSON: bars for what workloads cost, lines for how that grows.

`svg` writes the elements, `scales` place values, `bars` and `lines` are the two kinds of chart, `pictures` says which
there are. `python -m benchmarks.charts results.json` draws them anew.
"""

from benchmarks.charts.pictures import draw_all

__all__ = ["draw_all"]
