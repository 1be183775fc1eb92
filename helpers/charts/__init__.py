"""Charts of the series: a tidy table in, a matplotlib `Axes` out. `show` puts it into a notebook.

    ax = charts.throughput(table, limit=250)
    charts.show(ax, title="the finding", subtitle="what is plotted", caption="what there is to see, in a sentence")

The title says what the chart shows, and the caption stands below the picture and is its alternative text. For a file,
`headline` writes title and subtitle, and `png` returns the picture. `limit_line` draws a limit on any axes.

No chart changes matplotlib's settings, prints, or shows anything by itself.
"""

from helpers.charts.advice import advice, ways
from helpers.charts.ceilings import ceilings
from helpers.charts.choices import longest_chain, shares_of_loop
from helpers.charts.compared import lanes, shares
from helpers.charts.crews import cost, crew
from helpers.charts.depths import depths
from helpers.charts.display import png, show
from helpers.charts.drawings import kitchen, series_map
from helpers.charts.ended import ended
from helpers.charts.headline import headline
from helpers.charts.outcome import outcomes, rates
from helpers.charts.panels import panels
from helpers.charts.pictures import before_and_after, contact_sheet
from helpers.charts.queues import waits
from helpers.charts.retries import attempts, backoff
from helpers.charts.stacked import outcome_shares
from helpers.charts.storms import storm
from helpers.charts.style import blank, limit_line
from helpers.charts.survival import survival
from helpers.charts.sweeps import efficiency, latency, throughput, wait_and_service
from helpers.charts.timelines import admission, floor_plan, progress, queue_depth
from helpers.charts.trips import trips

__all__ = [
    "admission",
    "advice",
    "attempts",
    "backoff",
    "before_and_after",
    "blank",
    "ceilings",
    "contact_sheet",
    "cost",
    "crew",
    "depths",
    "efficiency",
    "ended",
    "floor_plan",
    "headline",
    "kitchen",
    "lanes",
    "latency",
    "limit_line",
    "longest_chain",
    "outcome_shares",
    "outcomes",
    "panels",
    "png",
    "progress",
    "queue_depth",
    "rates",
    "series_map",
    "shares",
    "shares_of_loop",
    "show",
    "storm",
    "survival",
    "throughput",
    "trips",
    "wait_and_service",
    "waits",
    "ways",
]
