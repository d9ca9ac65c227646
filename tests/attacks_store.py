"""Attacks on the store of people: by who writes into it without the key, and by who makes bundles."""

from __future__ import annotations
