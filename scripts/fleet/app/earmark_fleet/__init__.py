"""Flower's side: what the server runs, and what it sends to the homes."""
