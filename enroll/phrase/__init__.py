"""Learns a phrase of one's own from its takes."""
