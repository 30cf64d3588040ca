"""The simulation: a plan made from a seed, and a driver that carries it out over HTTP."""
