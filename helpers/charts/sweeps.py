"""Charts of a sweep: throughput and latency of a pool against its number of workers.

A sweep table has one row per (workers, repeat). It has the columns that the chart names, and, if there are several
loads, the column `load` ("batch" or "stream"). Each line connects the medians of the repeats. Every repeat is a faint
dot, and a thin vertical line spans the repeats, so that the spread is visible. A piece of each line with its name is
placed right of the axes. The ticks are the numbers of workers that were measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from helpers.charts.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    VERMILLION,
    end_labels,
    label_of,
    limit_line,
    log_axis,
    need,
    numbers,
    plain,
    positive,
    styled,
)
from helpers.measure.words import describe

WORKERS = "Workers"


class Look(NamedTuple):
    """The look of a line, which distinguishes it from the other lines in color and in grey."""

    colour: str
    marker: str
    line: str
    fill: str
    size: float


LOOKS = [  # one per load; hollow markers are larger, so that two markers at the same point are both visible
    Look(BLUE, "o", "-", BLUE, 6),
    Look(ORANGE, "s", "--", "none", 11),
    Look(GREEN, "^", "-.", GREEN, 7),
    Look(PURPLE, "D", ":", "none", 10),
]
PARTS = {50: ("-", False), 95: ("--", True), 99: (":", True)}  # per percentile: line style; are its markers hollow?


def throughput(
    table: pd.DataFrame,
    *,
    limit: float | None = None,
    ideal: float | None = None,
    cores: int | None = None,
    shared: int | None = None,
    marks: Mapping[float, str] | None = None,
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw jobs per second against workers. On two logarithmic axes, perfect scaling is a straight line.

    Args:
        table: columns workers, throughput (jobs/s); load if there are several.
        limit: the maximum throughput of the resource that the workers share, in jobs/s.
        ideal: mean service time, in seconds; draws workers / ideal, the throughput without any losses.
        cores: for CPU-bound work: the ideal is then min(workers, cores) / ideal.
        shared: the number of jobs that the resource shared by all workers can serve at the same time, such as the size
            of a connection pool. The ideal is then min(workers, shared) / ideal.
        marks: labels of vertical lines at numbers of workers, such as {20: "20 connections"}.
        log: False for two linear axes that start at zero. On them a limit is easier to see.

    Raises:
        ValueError: for a missing column, an empty table, or a number that is not positive.
    """
    need(table, "workers", "throughput")
    numbers(table, "workers", "throughput", above=0)
    positive("limit", limit)
    positive("ideal", ideal)
    positive("cores", cores)
    positive("shared", shared)
    with styled(ax) as axes:
        axes.set(xlabel=WORKERS, ylabel="Throughput (jobs/s)")
        if log:
            axes.set(xscale="log", yscale="log")
        mark_workers(axes, marks)
        ends = [ideal_line(axes, table, ideal, cores or shared)] if ideal is not None else []
        if ends and shared is not None:
            ends[0].set_label("ideal")
        ends += [median_line(axes, rows, "throughput", look, load or "measured") for load, rows, look in loads(table)]
        if limit is not None:
            limit_line(axes, limit, f"shared limit: {limit:,.4g} jobs/s")
            axes.set_ylim(top=max(axes.get_ylim()[1], 1.5 * limit))  # room for its label
        axes.set_title("Throughput against workers", pad=24 if marks else None)
        scale_axes(axes, table, log)
        end_labels(axes, ends)
    return axes


def scale_axes(ax: Axes, table: pd.DataFrame, log: bool) -> None:
    """Put plain numbers on two logarithmic axes, or let two linear axes start at zero."""
    if log:
        log_axis(ax.xaxis, table["workers"])
        log_axis(ax.yaxis)
        return
    ax.set_xlim(0, 1.03 * float(table["workers"].max()))
    ax.set_ylim(bottom=0)
    ax.set_xticks([0, *spread_out(sorted(set(table["workers"])), 0.06 * float(table["workers"].max()))])
    ax.yaxis.set_major_formatter(FuncFormatter(plain))


def spread_out(ticks: Sequence[float], gap: float) -> list[float]:
    """Return the ticks without those that are closer than `gap` to zero or to the tick that was kept before."""
    kept: list[float] = []
    for tick in ticks:
        if tick - (kept[-1] if kept else 0) >= gap:
            kept.append(tick)
    return kept


def ideal_line(ax: Axes, table: pd.DataFrame, ideal: float, most_at_once: int | None) -> Line2D:
    """Draw the ideal throughput as a dotted line. It is in front of the other lines, which often coincide with it."""
    counts = sorted({*table["workers"], *([most_at_once] if most_at_once is not None else [])})
    most = [n / ideal if most_at_once is None else min(n, most_at_once) / ideal for n in counts]
    what = "workers" if most_at_once is None else f"min(workers, {most_at_once})"
    label = f"ideal: {what} / {ideal:.3g} s"
    return ax.plot(counts, most, color=INK, linestyle=":", linewidth=1.8, zorder=2.5, label=label)[0]


def mark_workers(ax: Axes, marks: Mapping[float, str] | None) -> None:
    """Draw a vertical line at each number of workers in `marks`, with its label above the axes."""
    if marks is not None and not issubclass(type(marks), Mapping):
        raise TypeError(
            f"marks must map numbers of workers to labels, as in {{20: '20 connections'}}, not {describe(marks)}"
        )
    for place, words in (marks or {}).items():
        positive("marks", place)
        ax.axvline(place, color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.6, label=f"_{label_of(words)}")
        above = ("data", "axes fraction")
        ax.annotate(
            label_of(words), (place, 1.0), (0, 4), xycoords=above, textcoords="offset points", ha="center", va="bottom"
        )


def latency(
    table: pd.DataFrame,
    *,
    parts: Sequence[int] = (50, 95),
    ideal: float | None = None,
    shared: int | None = None,
    marks: Mapping[float, str] | None = None,
    log: bool = True,
    ax: Axes | None = None,
) -> Axes:
    """Draw percentiles of the latency, from submit to result, against workers.

    Args:
        table: columns workers and, for `parts`, p50, p95, p99 (seconds; drawn in ms); load if there are several.
        parts: the percentiles to draw, out of 50, 95, and 99.
        ideal: mean service time, in seconds. Together with `shared` it draws the shortest possible mean latency of a
            pool that holds as many jobs as it has workers: ideal · workers / shared, but never less than `ideal`.
        shared: the number of jobs that the resource shared by all workers can serve at the same time.
        marks: labels of vertical lines at numbers of workers, such as {20: "20 connections"}.
        log: False for two linear axes that start at zero.

    Raises:
        ValueError: for a missing column, an empty table, another percentile, or a number that is not positive.
    """
    if not issubclass(type(parts), Sequence) or not parts or set(parts) - set(PARTS):
        raise ValueError(f"parts must be some of {list(PARTS)}, not {describe(parts)}")
    columns = [f"p{part}" for part in parts]
    need(table, "workers", *columns)
    numbers(table, "workers", above=0)
    numbers(table, *columns)
    positive("ideal", ideal)
    positive("shared", shared)
    with styled(ax) as axes:
        axes.set(xlabel=WORKERS, ylabel="Latency, submit to result (ms)")
        if log:
            axes.set(xscale="log", yscale="log")
        mark_workers(axes, marks)
        ends = [shortest_line(axes, table, ideal, shared)] if ideal is not None and shared is not None else []
        for load, rows, look in loads(table):
            scaled = rows.assign(**{column: rows[column] * 1e3 for column in columns})
            for part, column in zip(parts, columns, strict=True):
                line, hollow = PARTS[part]
                own = look._replace(line=line, fill="white" if hollow else look.colour, size=7)
                ends.append(median_line(axes, scaled, column, own, f"{load} {column}".strip()))
        axes.set_title("Latency against workers", pad=24 if marks else None)
        scale_axes(axes, table, log)
        end_labels(axes, ends)
    return axes


def shortest_line(ax: Axes, table: pd.DataFrame, ideal: float, shared: int) -> Line2D:
    """Draw the shortest possible mean latency of a pool that holds as many jobs as it has workers, as a dotted line."""
    counts = sorted({*table["workers"], shared})
    shortest = [1e3 * ideal * max(1.0, n / shared) for n in counts]
    label = "shortest mean"
    return ax.plot(counts, shortest, color=INK, linestyle=":", linewidth=1.8, zorder=2.5, label=label)[0]


def loads(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, Look]]:
    """Yield the name, the rows, and the look of each load. The name is empty if the table has only one load.

    Raises:
        ValueError: for more loads than a chart can distinguish.
    """
    names = list(table["load"].unique()) if "load" in table else [""]
    if len(names) > len(LOOKS):
        raise ValueError(f"the table has {len(names)} loads; a chart can tell {len(LOOKS)} apart")
    if len(names) == 1:
        yield "", table, LOOKS[0]
        return
    for name, look in zip(names, LOOKS, strict=False):
        yield label_of(name), table[table["load"] == name], look


def median_line(ax: Axes, rows: pd.DataFrame, column: str, look: Look, name: str) -> Line2D:
    """Draw a line through the medians and return it. If there are repeats, draw each one as a dot, and their range.

    The range is a thin vertical line from the lowest to the highest repeat.
    """
    repeats = rows.groupby("workers")[column]
    median = repeats.median()
    (line,) = ax.plot(
        list(median.index),
        median.tolist(),
        color=look.colour,
        linestyle=look.line,
        marker=look.marker,
        markerfacecolor=look.fill,
        markersize=look.size,
        markeredgewidth=1.6,
        label=name,
    )
    if len(rows) > len(median):
        dots: dict[str, Any] = {"color": look.colour, "alpha": 0.35, "markersize": 9, "markeredgewidth": 0}
        ax.plot(rows["workers"], rows[column], ".", label=f"_{name}: repeats", zorder=1.5, **dots)
        span: dict[str, Any] = {"color": look.colour, "alpha": 0.5, "linewidth": 1.2, "zorder": 1.4}
        ax.vlines(list(median.index), repeats.min().tolist(), repeats.max().tolist(), label=f"_{name}: range", **span)
    ax.grid(True)
    return line
