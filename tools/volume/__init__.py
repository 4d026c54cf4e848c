"""How often the volume alarm is wrong, and how soon it is right."""
