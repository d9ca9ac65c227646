"""Stays for programs that were written before the rooms: see `earmark.engine.networks.keyword`."""

from __future__ import annotations

from .networks.keyword import KeywordNetwork

__all__ = ["KeywordNetwork"]
