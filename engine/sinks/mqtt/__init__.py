"""Events, state and controls through a broker."""
