"""The instant checks behind the exercises: one module a notebook, one function an exercise.

A check never raises for a wrong answer and never hangs: it returns a `Verdict` that says what was tried and seen.
"""

from helpers.exercises.verdict import Verdict

__all__ = ["Verdict"]
