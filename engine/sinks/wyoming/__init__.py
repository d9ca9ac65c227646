"""The wake service for Home Assistant and its satellites."""
