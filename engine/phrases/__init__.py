"""Phrases of one's own: what was said, and whether it was the phrase that a person has enrolled."""
