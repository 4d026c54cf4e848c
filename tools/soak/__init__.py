"""Soak tests: random faults in a mail log, a configuration or a relay, and checks after each round."""
