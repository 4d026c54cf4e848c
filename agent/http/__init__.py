"""The HTTP endpoint: sockets, connections, routes, access."""
