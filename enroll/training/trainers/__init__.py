"""Ways to learn a voice on the device, behind one interface: a module each, and the registry of them."""
