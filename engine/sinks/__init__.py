"""What becomes of an event: one file a sink, each optional, each in a thread of its own."""
