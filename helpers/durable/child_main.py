"""What a `ChildProcess` runs: `python -m helpers.durable.child_main` calls one function and reports how it ended."""

import os
import sys

from helpers.services.child import Parent


def main() -> int:
    """Call the function that the parent names. Return the exit status: 1 if the function raised, else 0."""
    parent = Parent(when_gone=lambda: os._exit(0))  # a worker may be killed at any moment, so this is no harder end
    function, args, options = parent.request
    try:
        parent.send(function(*args, **options))
    except Exception as error:
        parent.send(error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
