"""Charts of the series. A chart takes a tidy table and returns a Matplotlib `Axes`; `show` displays it in a notebook.

    ax = charts.throughput(table, limit=250)
    charts.show(ax, title="the finding", subtitle="what is plotted", caption="a description of the chart")

The title states the finding. The caption is displayed below the picture and is also its alternative text. To write a
chart to a file, call `headline`, which adds the title and the subtitle, and then `png`, which returns the picture.
`limit_line` draws a limit on any axes.

Drawing a chart does not change Matplotlib's settings, print anything, or display anything.
"""

from helpers.charts.ages import ages
from helpers.charts.choices import longest_chain, shares_of_loop
from helpers.charts.compared import lanes, shares
from helpers.charts.connections import open_connections
from helpers.charts.crews import cost, crew
from helpers.charts.deaths import deaths
from helpers.charts.depths import depths
from helpers.charts.display import png, show
from helpers.charts.drawings import kitchen, series_map
from helpers.charts.episodes import episodes
from helpers.charts.fluctuations import fluctuations
from helpers.charts.headline import headline
from helpers.charts.limited import against_limit
from helpers.charts.outcome import outcomes, rates
from helpers.charts.panels import panels
from helpers.charts.pictures import before_and_after, contact_sheet
from helpers.charts.predicted import laws, predictions
from helpers.charts.quantiles import histogram_view
from helpers.charts.queues import waits
from helpers.charts.retries import attempts
from helpers.charts.schedules import schedules
from helpers.charts.signals import alert, signals
from helpers.charts.storms import storm
from helpers.charts.style import blank, limit_line
from helpers.charts.survival import survival
from helpers.charts.sweeps import latency, throughput
from helpers.charts.timelines import admission, floor_plan
from helpers.charts.trips import trips
from helpers.charts.waiting import hockey_stick

__all__ = [
    "admission",
    "against_limit",
    "ages",
    "alert",
    "attempts",
    "before_and_after",
    "blank",
    "contact_sheet",
    "cost",
    "crew",
    "deaths",
    "depths",
    "episodes",
    "floor_plan",
    "fluctuations",
    "headline",
    "histogram_view",
    "hockey_stick",
    "kitchen",
    "lanes",
    "latency",
    "laws",
    "limit_line",
    "longest_chain",
    "open_connections",
    "outcomes",
    "panels",
    "png",
    "predictions",
    "rates",
    "schedules",
    "series_map",
    "shares",
    "shares_of_loop",
    "show",
    "signals",
    "storm",
    "survival",
    "throughput",
    "trips",
    "waits",
]
