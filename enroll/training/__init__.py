"""From takes to a voiceprint: variations, training, choice, thresholds."""
