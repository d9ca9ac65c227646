"""The detector on live audio, as a service."""
