"""Stays for programs that were written before the rooms: see `earmark.engine.audio.files`."""

from __future__ import annotations

from .audio.files import FileSource, read_audio

__all__ = ["FileSource", "read_audio"]
