"""A pool to play with: two sliders, a button, and a picture of the crew and the queue while it works.

The button feeds bursts into a `DynamicPool` for a few seconds; the sliders change its bounds meanwhile. Pressed again,
it stops. Everything ends with the run: the pool, its threads, the one that submits, and the one that draws.
"""

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from math import ceil
from typing import Any

import ipywidgets as widgets
import pandas as pd
from matplotlib.axes import Axes

from helpers import charts
from helpers.charts.style import GREY, in_style
from helpers.measure import crew_frame, to_frame
from helpers.panel import Panel
from helpers.pools import DynamicPool, PoolClosed, Result, checks

BURST, EVERY = 40, 1.5  # jobs at once, and seconds between two bursts
SERVICE, IDLE = 0.05, 0.3  # seconds a job takes, and until an idle worker retires
BACKLOG, MAX_WAIT = 2, 0.2  # the longest wait in a burst is 2 x 0.05 s, and max_wait must be longer than that
FRAME = 0.25  # seconds between two pictures
CAPTION = "A Start button and sliders for the minimum and maximum, above a chart of the queue and the workers."
TITLE = "The fewer workers, the longer until the queue is empty"


class LiveCrew:
    """Display `box`; click `button`; move `low` and `high`. `wait()` until the run is over.

    Args:
        seconds: how long a run lasts.
    """

    def __init__(self, seconds: float = 6.0) -> None:
        self.seconds = checks.seconds("seconds", seconds)
        self.low = widgets.IntSlider(2, 1, 10, description="minimum")
        self.high = widgets.IntSlider(10, 1, 20, description="maximum")
        self.button = widgets.Button(description="Start", icon="play")
        self.box = Panel([self.button, self.low, self.high], CAPTION)
        self.box.show(self._before_the_start(), tight=False)
        self.picture = self.box.picture
        self.pool: DynamicPool[int, None] | None = None
        self.resized: tuple[float, str] | None = None  # when a limit was last changed, and its new value
        self._stopped = threading.Event()
        self._thread: threading.Thread | None = None
        self.button.on_click(lambda _: self.stop() if self.running() else self.start())
        for slider in (self.low, self.high):
            slider.observe(self._resize, "value")

    def running(self) -> bool:
        """True from `start` until the run is over."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin a run, unless one is going on."""
        if self.running():
            return
        self._stopped.clear()
        self.resized = None
        low, high = self.low.value, max(self.low.value, self.high.value)
        self.pool = DynamicPool(
            lambda job: time.sleep(SERVICE),
            min_workers=low,
            max_workers=high,
            backlog=BACKLOG,
            max_wait=MAX_WAIT,
            idle_timeout=IDLE,
            queue_size=500,
        )
        self._thread = threading.Thread(target=self._run, args=(self.pool,), name="live-crew", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the run early."""
        self._stopped.set()

    def wait(self) -> None:
        """Return when the run is over."""
        while self.running():
            self._thread.join(0.5) if self._thread else None

    def _resize(self, change: Any) -> None:
        if self.low.value > self.high.value:  # the one that was moved takes the other along
            self.high.value = self.low.value
            return
        if self.pool is not None and self.running():
            with suppress(PoolClosed):  # the run has just ended
                now = time.monotonic()  # before `resize`, whose effects must not be drawn to the left of the mark
                self.pool.resize(self.low.value, self.high.value)
                self.resized = now, f"{change.owner.description} {change.new}"

    def _run(self, pool: DynamicPool[int, None]) -> None:
        self.button.description, self.button.icon = "Stop", "stop"
        done: list[Result[int, None]] = []
        begun = time.monotonic()
        # A thread of its own submits the bursts, so that they come in time even if drawing takes long.
        feeder = threading.Thread(target=self._feed, args=(pool, begun), name="live-feeder", daemon=True)
        with pool:
            feeder.start()
            while time.monotonic() - begun < self.seconds and not self._stopped.wait(FRAME):
                self._draw(pool, done)
            self._draw(pool, done)  # Drawing takes time, so the last picture can be older than the last change.
            pool.force_shutdown()
        feeder.join()
        self.button.description, self.button.icon = "Start", "play"

    def _feed(self, pool: DynamicPool[int, None], begun: float) -> None:
        """Submit a burst every `EVERY` seconds, until the run is over or stopped."""
        for number in range(ceil(self.seconds / EVERY)):
            if self._stopped.wait(max(0.0, begun + number * EVERY - time.monotonic())):
                return
            for job in range(BURST):
                with suppress(PoolClosed):  # the run is over
                    pool.try_submit(job)

    def _draw(self, pool: DynamicPool[int, None], done: list[Result[int, None]]) -> None:
        finished = pool.results()
        for _ in range(pool.stats().finished - len(done)):
            done.append(next(finished))
        finished.close()
        if done:
            log = pool.decisions()
            jobs, changes = to_frame(done, zero=log[0].time), crew_frame(log)
            now = min(time.monotonic() - log[0].time, self.seconds)
            chart = charts.crew(jobs, changes, end=now, ax=charts.blank())
            with in_style():
                chart.set_title(TITLE)
            for panel in chart.child_axes:
                panel.set_xlim(0, self.seconds)
            if self.resized:
                self._mark(chart.child_axes, self.resized[0] - log[0].time, self.resized[1])
            self.box.show(chart, tight=False)

    def _mark(self, panels: Sequence[Any], when: float, change: str) -> None:
        """Mark the last change of a limit in both panels."""
        for panel in panels:
            panel.axvline(when, color=GREY, linestyle="--", zorder=9)
        where = (when, panels[0].get_ylim()[1])
        panels[0].annotate(change, where, (5, 0), textcoords="offset points", va="top", color=GREY)

    def _before_the_start(self) -> Axes:
        """The chart of a pool that has no job yet, so that the pictures of a run have the same size."""
        jobs = pd.DataFrame({"submitted": [0.0], "started": [0.0]})
        changes = pd.DataFrame({"time": [0.0], "after": [self.low.value]})
        ax = charts.crew(jobs, changes, end=self.seconds, ax=charts.blank())
        ax.text(0.5, 0.75, "Run this cell, then press Start.", ha="center", color=GREY, zorder=9)  # above the panels
        return ax
