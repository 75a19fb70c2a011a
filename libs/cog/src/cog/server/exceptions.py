"""Older models catch a cancel by this name."""

from cog.exceptions import CancelationException

__all__ = ["CancelationException"]
