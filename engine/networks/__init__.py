"""The networks, each behind its card, on one TFLite runtime."""
