"""The HTTP endpoint: sockets, routes, access."""
