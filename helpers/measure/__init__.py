"""Measure pools: tables of results, sweeps over the number of workers, and the laws that explain the figures."""

from helpers.measure.amdahl import amdahl
from helpers.measure.erlang import ErlangC, workers_for
from helpers.measure.frames import attempts_frame, crew_frame, letters_frame, to_frame, worker_seconds
from helpers.measure.laws import in_system, list_schedule, littles_law, utilization
from helpers.measure.simulation import simulate
from helpers.measure.sweeps import sweep
from helpers.measure.usl import Estimate, Scalability, fit_usl

__all__ = [
    "ErlangC",
    "Estimate",
    "Scalability",
    "amdahl",
    "attempts_frame",
    "crew_frame",
    "fit_usl",
    "in_system",
    "letters_frame",
    "list_schedule",
    "littles_law",
    "simulate",
    "sweep",
    "to_frame",
    "utilization",
    "worker_seconds",
    "workers_for",
]
