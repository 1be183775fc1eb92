"""From results to tidy tables, from a pool to a sweep over its worker counts, and the laws that explain both."""

from helpers.measure.frames import to_frame
from helpers.measure.laws import in_system, list_schedule, littles_law, utilisation
from helpers.measure.sweeps import sweep

__all__ = ["in_system", "list_schedule", "littles_law", "sweep", "to_frame", "utilisation"]
