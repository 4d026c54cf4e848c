"""The sink, which receives the probes of a fleet."""
