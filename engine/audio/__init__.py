"""Samples, and where they come from: files, pipes, microphones."""
