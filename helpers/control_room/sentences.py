"""The state of the control room in words, for screen readers and below the buttons."""

from typing import Any

from helpers.control_room.alert import FIRING, OK


def status(snap: dict[str, Any]) -> str:
    """Return the state of a snapshot in a few short sentences."""
    limit = "" if snap["limit"] is None else f" of at most {snap['limit']:.0f}"
    parts = [
        f"{snap['state'].capitalize()}, {snap['time']:.0f} s.",
        f"{snap['queued']} of {snap['queue_size']} jobs queued, the oldest for {snap['oldest_wait']:.1f} s.",
        f"{snap['turned_away']:,} jobs turned away.",
        f"{snap['running']} of {snap['workers']} workers busy.",
        f"{snap['throughput']:.0f}{limit} jobs per second.",
        f"{snap['succeeded']:,} succeeded, {snap['failed']:,} failed.",
    ]
    if snap["alert"] == FIRING:
        parts.insert(0, "The alert fires.")
    if snap["last_error"]:
        parts.append(f"Last error: {snap['last_error']}.")
    return " ".join(parts)


def alert(snap: dict[str, Any]) -> str:
    """Return the state of the alert and its rule."""
    rule = f"oldest wait over {snap['alert_limit']:g} s for {snap['alert_hold']:g} s"
    return f"Alert {snap['alert']}: {rule}" if snap["alert"] != OK else f"No alert. Rule: {rule}"
