"""What was heard: the journal, what waits to be learned, and how both forget a person."""
