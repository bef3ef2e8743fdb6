"""The picture: every case is a line of dots, one for each system."""

from __future__ import annotations

from pathlib import Path

from .report import COLUMNS
from .results import Results

COLOURS = {"mpidirect": "#0b6e4f", "direct": "#c8553d", "broadcast": "#e9a178", "floor": "#222222"}
MARKERS = {"mpidirect": "o", "direct": "s", "broadcast": "D", "floor": "|"}


def draw(results: Results, path: Path) -> None:
    """Draw the times of all cases into a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    rows = [row for row in results.rows if row.unit == "s" and row.samples]
    sizes = sorted({row.engines for row in rows})
    titles = list(dict.fromkeys(row.title for row in rows))
    figure, axes = pyplot.subplots(
        1, len(sizes), figsize=(4.5 + 3.5 * len(sizes), 1.2 + 0.27 * len(titles)), sharey=True, squeeze=False
    )
    for axis, n in zip(axes[0], sizes, strict=True):
        axis.set_title(f"{n} engines", loc="left")
        for column, name in COLUMNS.items():
            found = [row for row in rows if row.engines == n and row.value(column) is not None]
            axis.scatter(
                [row.value(column) for row in found],
                [titles.index(row.title) for row in found],
                label=name if name in ("mpidirect", "floor") else f"ipyparallel, {name}",
                color=COLOURS[column],
                marker=MARKERS[column],
                s=130 if column == "floor" else 34,
                zorder=3,
            )
        axis.set_xscale("log")
        axis.set_xlabel("seconds")
        axis.grid(axis="x", which="major", color="#dddddd")
        axis.hlines(range(len(titles)), *axis.get_xlim(), color="#eeeeee", zorder=1)
        axis.spines[["top", "right", "left"]].set_visible(False)
        axis.tick_params(axis="y", length=0)
    first = axes[0][0]
    first.set_yticks(range(len(titles)), titles)
    first.invert_yaxis()
    handles, labels = first.get_legend_handles_labels()
    figure.legend(handles, labels, loc="lower center", ncols=4, frameon=False)
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    figure.savefig(path, dpi=130)
    pyplot.close(figure)
