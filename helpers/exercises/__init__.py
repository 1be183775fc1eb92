"""The instant checks of the exercises: one module per notebook, one function per exercise.

A check does not raise for a wrong answer and does not hang. It returns a `Verdict` that says what was tested and found.
"""

from helpers.exercises.verdict import Verdict

__all__ = ["Verdict"]
