"""Commands that need only the engine."""
