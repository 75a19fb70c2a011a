"""Older models import the base class from here."""

from cog.predictor import BasePredictor

__all__ = ["BasePredictor"]
