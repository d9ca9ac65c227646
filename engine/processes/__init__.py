"""How other processes are started: our own code, and nobody else's."""
