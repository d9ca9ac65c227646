"""From a recording to takes, or to the reason why there is none."""
