"""Older models reach the scope from here."""

from cog._scope import Scope, current_scope, emit_metric

__all__ = ["Scope", "current_scope", "emit_metric"]
