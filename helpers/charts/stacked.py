"""What became of the jobs of several runs, compared: a bar is 100% of its run, and its end says how many succeeded."""

import textwrap
from typing import Any

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MultipleLocator, PercentFormatter
from matplotlib.transforms import ScaledTranslation

from helpers.charts.outcome import SUCCEEDED
from helpers.charts.style import GREEN, INK, label_of, laid_out, need, numbers, root_figure, styled

# Success is dark and failures are pale, so the two differ in grey as well. The hatches tell the failures apart.
FAILURES = [
    ("#f7d3bd", "//"),
    ("#fbf3b5", ".."),
    ("#efd9e6", "xx"),
    ("#d5ecf8", "\\\\"),
    ("#dddddd", "oo"),
    ("white", "--"),
    ("#f2e3c6", "++"),
]


def outcome_shares(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Draw a bar per run, all of the same length, split into what share of its jobs succeeded and failed, and how.

    Right of each bar stand the jobs that succeeded and of how many, and, if all of them did, the seconds that the run
    took. (A run that fails early is short, which would look like speed.) Failures stand in the order in which they
    first appear in the table, so give them in the order in which they happen.

    Args:
        table: columns run, outcome ("succeeded" or an error), jobs (how many), seconds (of the whole run).

    Raises:
        ValueError: for a missing column, an empty table, a run without jobs, or more errors than can be told apart.
    """
    need(table, "run", "outcome", "jobs", "seconds")
    numbers(table, "jobs", "seconds", least=0)
    kinds = [SUCCEEDED, *(kind for kind in dict.fromkeys(table["outcome"]) if kind != SUCCEEDED)]
    if len(kinds) - 1 > len(FAILURES):
        raise ValueError(f"the table has {len(kinds) - 1} kinds of error; a chart can tell {len(FAILURES)} apart")
    counts = table.pivot_table(index="run", columns="outcome", values="jobs", aggfunc="sum", fill_value=0, sort=False)
    counts = counts.reindex(columns=kinds, fill_value=0)
    totals = counts.sum(axis="columns")
    if not totals.all():
        raise ValueError(f"a run needs jobs: {label_of(totals.index[totals == 0][0])} has none")
    seconds = table.groupby("run", sort=False)["seconds"].first()
    with styled(ax, size=(8.0, 1.5 + 0.5 * len(counts) + 0.26 * len(kinds))) as axes:
        _stack(axes, counts.div(totals, axis="index"), counts)
        for row, run in enumerate(counts.index):
            words = f"{counts.loc[run, SUCCEEDED]:,} of {totals[run]:,}"
            if counts.loc[run, SUCCEEDED] == totals[run]:
                words += f"\nin {_time(float(seconds[run]))}"
            axes.annotate(words, (1, row), (8, 0), textcoords="offset points", va="center", fontsize=9.5)
        axes.set_yticks(range(len(counts)), [textwrap.fill(label_of(run), 26) for run in counts.index])
        axes.set(title="What became of the jobs", xlabel="Share of the jobs", ylim=(len(counts) - 0.5, -0.5))
        axes.set_xlim(0, 1)
        axes.xaxis.set_major_locator(MultipleLocator(0.25))
        axes.xaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)
        below = ScaledTranslation(0, -48 / 72, root_figure(axes).dpi_scale_trans)  # below the ticks and their label
        where = {"bbox_to_anchor": (0, 0), "bbox_transform": axes.transAxes + below, "borderaxespad": 0}
        axes.legend(loc="upper left", alignment="left", **where)
    return axes


def _stack(ax: Axes, shares: pd.DataFrame, counts: pd.DataFrame) -> None:
    """Draw the parts of all bars from left to right, and write its count on each part that is wide enough."""
    looks = [(GREEN, ""), *FAILURES]
    left = pd.Series(0.0, index=shares.index)
    parts = []
    for kind, (colour, hatch) in zip(shares.columns, looks, strict=False):
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": INK, "linewidth": 0.8}
        label = textwrap.fill(label_of(kind, 200), 76)
        bars = ax.barh(range(len(shares)), shares[kind], left=left, height=0.6, label=label, **look)
        parts.append((bars, counts[kind]))
        left = left + shares[kind]
    laid_out(ax)
    back = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for bars, jobs in parts:
        for bar, count in zip(bars, jobs, strict=True):
            x, y = bar.get_center()
            text = ax.text(x, y, f"{count:,}", ha="center", va="center", fontsize=9.5, bbox=back)
            if not count or text.get_window_extent().width + 8 > bar.get_window_extent().width:
                text.remove()


def _time(seconds: float) -> str:
    return f"{seconds:,.0f} s" if seconds >= 20 else f"{seconds:.1f} s"
