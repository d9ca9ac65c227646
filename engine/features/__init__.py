"""What is computed from samples before a network hears them, and which samples are worth it."""
