"""How a pool behaves as its crew grows: the charts of a sweep over worker counts.

A sweep table has one row for each (workers, repeat): the columns that a chart names, and `load` ("batch" or "stream")
where there is more than one. Lines go through the median of the repeats. Every repeat is a faint dot, and a thin line
spans them, so that the spread is never hidden. Right of the axes stands a piece of every line with its name; the ticks
are the worker counts that were measured.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.container import BarContainer
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, PercentFormatter

from helpers.charts.style import (
    BLUE,
    GREEN,
    INK,
    ORANGE,
    PURPLE,
    SKY,
    VERMILLION,
    end_labels,
    label_of,
    legend_above,
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
    """How a line is told from the others, in colour and in grey."""

    colour: str
    marker: str
    line: str
    fill: str
    size: float


LOOKS = [  # one a load; the hollow ones are larger, so that both show where two lines meet
    Look(BLUE, "o", "-", BLUE, 6),
    Look(ORANGE, "s", "--", "none", 11),
    Look(GREEN, "^", "-.", GREEN, 7),
    Look(PURPLE, "D", ":", "none", 10),
]
PARTS = {50: ("-", False), 95: ("--", True), 99: (":", True)}  # each percentile's line, and whether it is hollow


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
        limit: the most that is possible with what the workers share, jobs/s.
        ideal: mean service time, seconds; draws workers / ideal, what that many workers could do with no losses.
        cores: for work that computes: the ideal is then min(workers, cores) / ideal.
        shared: how many jobs the resource that all workers share can serve at the same time, such as the size of a
            connection pool. The ideal is then min(workers, shared) / ideal.
        marks: words at worker counts, beside an upright line: {20: "20 connections"}.
        log: False for two linear axes from zero, which show a limit better than a straight line.

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
            axes.set_ylim(top=max(axes.get_ylim()[1], 1.5 * limit))  # room for its words
        axes.set_title("Throughput against workers", pad=24 if marks else None)
        scale_axes(axes, table, log)
        end_labels(axes, ends)
    return axes


def scale_axes(ax: Axes, table: pd.DataFrame, log: bool) -> None:
    """Put plain numbers on two logarithmic axes, or let two linear axes begin at zero."""
    if log:
        log_axis(ax.xaxis, table["workers"])
        log_axis(ax.yaxis)
        return
    ax.set_xlim(0, 1.03 * float(table["workers"].max()))
    ax.set_ylim(bottom=0)
    ax.set_xticks([0, *spread_out(sorted(set(table["workers"])), 0.06 * float(table["workers"].max()))])
    ax.yaxis.set_major_formatter(FuncFormatter(plain))


def spread_out(ticks: Sequence[float], gap: float) -> list[float]:
    """Leave out every tick that is less than `gap` from the one before it, or from zero."""
    kept: list[float] = []
    for tick in ticks:
        if tick - (kept[-1] if kept else 0) >= gap:
            kept.append(tick)
    return kept


def ideal_line(ax: Axes, table: pd.DataFrame, ideal: float, most_at_once: int | None) -> Line2D:
    """Draw a dotted line of what is possible, on top of the others, because these often lie on it."""
    counts = sorted({*table["workers"], *([most_at_once] if most_at_once is not None else [])})
    most = [n / ideal if most_at_once is None else min(n, most_at_once) / ideal for n in counts]
    what = "workers" if most_at_once is None else f"min(workers, {most_at_once})"
    label = f"ideal: {what} / {ideal:.3g} s"
    return ax.plot(counts, most, color=INK, linestyle=":", linewidth=1.8, zorder=2.5, label=label)[0]


def mark_workers(ax: Axes, marks: Mapping[float, str] | None) -> None:
    """An upright line at each worker count of `marks`, with its words above it, where no curve is."""
    if marks is not None and not issubclass(type(marks), Mapping):
        raise TypeError(f"marks must be words at worker counts, as in {{20: '20 connections'}}, not {describe(marks)}")
    for place, words in (marks or {}).items():
        positive("marks", place)
        ax.axvline(place, color=VERMILLION, linestyle=(0, (2, 2)), linewidth=1.6, label=f"_{label_of(words)}")
        above = ("data", "axes fraction")
        ax.annotate(
            label_of(words), (place, 1.0), (0, 4), xycoords=above, textcoords="offset points", ha="center", va="bottom"
        )


def efficiency(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """The share of the ideal, workers / the time a job needs, that the pool reached, against workers.

    Args:
        table: columns workers, efficiency (0 to 1); load if there are several.

    Raises:
        ValueError: for a missing column or an empty table.
    """
    need(table, "workers", "efficiency")
    numbers(table, "workers", above=0)
    numbers(table, "efficiency")
    with styled(ax) as axes:
        axes.set(xscale="log", xlabel=WORKERS, ylabel="Share of the ideal throughput (%)")
        ends = [median_line(axes, rows, "efficiency", look, load or "measured") for load, rows, look in loads(table)]
        limit_line(axes, 1.0, "the ideal: workers / time that a job needs")
        axes.yaxis.set_major_formatter(PercentFormatter(xmax=1.0, decimals=0))
        axes.set_ylim(0, max(1.12, 1.05 * float(table["efficiency"].max())))
        axes.set_title("Efficiency against workers")
        log_axis(axes.xaxis, table["workers"])
        end_labels(axes, ends)
    return axes


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
    """Draw how long a job takes from submit to result, against workers: the median and the slow tail of every load.

    Args:
        table: columns workers, and for `parts` p50, p95, p99 (seconds; drawn in ms); load if there are several.
        parts: which percentiles, of 50, 95 and 99.
        ideal: mean service time, seconds. With `shared`, it draws the shortest possible mean latency if the pool
            holds as many jobs as it has workers: ideal · workers / shared, but never less than `ideal`.
        shared: how many jobs the resource that all workers share can serve at the same time.
        marks: words at worker counts, beside an upright line: {20: "20 connections"}.
        log: False for two linear axes from zero.

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
    """Draw a dotted line of the shortest mean latency, for a pool that holds as many jobs as it has workers."""
    counts = sorted({*table["workers"], shared})
    shortest = [1e3 * ideal * max(1.0, n / shared) for n in counts]
    label = "shortest mean"
    return ax.plot(counts, shortest, color=INK, linestyle=":", linewidth=1.8, zorder=2.5, label=label)[0]


def wait_and_service(table: pd.DataFrame, *, ax: Axes | None = None) -> Axes:
    """Where a job's time goes: waiting in the queue, or being served. Medians in ms, stacked, for each worker count.

    A median of sums is not the sum of medians: the bar's height is near the median latency, not equal to it.
    With several loads each has its own panel with its own scale, inside `ax`.

    Args:
        table: columns workers, wait_p50, service_p50 (seconds; drawn in ms); load if there are several.

    Raises:
        ValueError: for a missing column or an empty table.
    """
    need(table, "workers", "wait_p50", "service_p50")
    numbers(table, "workers", above=0)
    numbers(table, "wait_p50", "service_p50")
    parts = list(loads(table))
    with styled(ax, size=(8.0, 4.4) if len(parts) == 1 else (9.0, 4.6)) as axes:
        axes.set_title("Where a job's time goes")
        if len(parts) == 1:
            legend_above(axes, stacked_bars(axes, parts[0][1]))
            return axes
        axes.set_axis_off()
        width = 1.11 / len(parts) - 0.11
        for place, (load, rows, _) in enumerate(parts):
            panel = axes.inset_axes((place * (width + 0.11), 0, width, 0.92))
            handles = stacked_bars(panel, rows)
            panel.set_title(load, fontsize="medium", fontweight="normal", pad=6)
        legend_above(axes, handles)
    return axes


def loads(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame, Look]]:
    """Each load's name, rows and look; one load without a name if the table has only one.

    Raises:
        ValueError: for more loads than can be told apart.
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
    """Draw a line through the medians and return it. If there are repeats, draw each as a dot, and their range.

    The range is a thin upright line from the lowest to the highest repeat.
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


def stacked_bars(ax: Axes, rows: pd.DataFrame) -> list[BarContainer]:
    """Wait below, service on top, both numbers written over the bar; returns what the legend shows, top one first."""
    median = rows.groupby("workers")[["wait_p50", "service_p50"]].median() * 1e3
    wait, service = median["wait_p50"].tolist(), median["service_p50"].tolist()
    places = range(len(median))
    look: dict[str, Any] = {"edgecolor": INK, "linewidth": 0.8}
    below = ax.bar(places, wait, color=SKY, hatch="//", label="wait (lower)", **look)
    above = ax.bar(places, service, bottom=wait, color=VERMILLION, label="service (upper)", **look)
    numbers = [f"{in_ms(up)}\n{in_ms(low)}" for up, low in zip(service, wait, strict=True)]
    ax.bar_label(above, numbers, padding=3, fontsize=9)
    ax.set_xticks(list(places), [f"{n:,}" for n in median.index])
    ax.set(xlabel=WORKERS, ylabel="Median time of a job (ms)")
    ax.margins(y=0.16)
    ax.yaxis.set_major_formatter(FuncFormatter(plain))
    ax.grid(True, axis="y")
    return [above, below]


def in_ms(value: float) -> str:
    """Milliseconds to write over a bar: whole ones, below ten two digits."""
    return f"{value:,.0f}" if value >= 10 or value < 0.1 else f"{value:.2g}"
