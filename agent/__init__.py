"""What runs on the host: reading, counting, enforcing, probing, serving, the command line."""
