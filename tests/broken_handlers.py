"""A module that can be imported only once: the process that has set the variable. A child's import fails."""

import os

if os.environ.get("BROKEN_HANDLERS") != str(os.getpid()):
    raise ImportError("this module is broken in a child")


def handle(job):
    return job
