"""`describe` and `describe_error` of `helpers.pools`, for the charts, which import from this layer only."""

from helpers.pools.words import describe, describe_error

__all__ = ["describe", "describe_error"]
