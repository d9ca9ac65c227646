"""Learning with other homes, without voices: what leaves the device, how much of it, and what comes back."""
