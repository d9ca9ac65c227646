"""The engine: what runs all day."""
