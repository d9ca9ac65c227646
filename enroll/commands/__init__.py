"""Commands of a person who joins."""
