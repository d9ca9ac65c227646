"""The page for a phone: `earmark web`, a process beside the daemon that speaks to it by its socket only."""
