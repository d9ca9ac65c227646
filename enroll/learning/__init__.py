"""Learning on, from what woke the daemon, and voiceprints made anew."""
