"""The alert of the control room: it fires when the oldest job has waited too long, for some seconds in a row.

Prometheus has the same three states: a condition that has just become true is *pending*, and *fires* only if it stays
true. So one slow job causes no alert.
"""

from helpers.pools import checks

OK, PENDING, FIRING = "ok", "pending", "firing"


class Alert:
    """Fires when the oldest wait has been more than `limit` seconds for at least `hold` seconds.

    Raises TypeError or ValueError unless both are numbers of seconds, more than 0.
    """

    def __init__(self, limit: float = 1.0, hold: float = 3.0) -> None:
        self.limit = checks.seconds("alert_limit", limit)
        self.hold = checks.seconds("alert_hold", hold)
        self.since: float | None = None  # since when the oldest wait is over the limit

    def update(self, now: float, oldest_wait: float) -> str:
        """Return "ok", "pending", or "firing". `now` is in seconds on any clock that does not go back."""
        if oldest_wait <= self.limit:
            self.since = None
            return OK
        if self.since is None:
            self.since = now
        return FIRING if now - self.since >= self.hold else PENDING
