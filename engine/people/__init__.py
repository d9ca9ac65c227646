"""Voiceprints, and the store of the people on disk."""
