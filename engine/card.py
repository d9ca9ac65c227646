"""Stays for programs that were written before the rooms: see `earmark.engine.networks.card`."""

from __future__ import annotations

from .networks.card import load_manifest

__all__ = ["load_manifest"]
