"""Measure pools: tables of results, sweeps over the number of workers, and the laws that explain the figures."""

from helpers.measure.frames import attempts_frame, crew_frame, letters_frame, to_frame, worker_seconds
from helpers.measure.laws import in_system, list_schedule, littles_law, utilisation
from helpers.measure.sweeps import sweep

__all__ = [
    "attempts_frame",
    "crew_frame",
    "in_system",
    "letters_frame",
    "list_schedule",
    "littles_law",
    "sweep",
    "to_frame",
    "utilisation",
    "worker_seconds",
]
