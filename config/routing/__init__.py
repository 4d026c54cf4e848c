"""Routing: the way that Postfix's mail takes, by its configuration.

Pure. For a sender and a recipient, `routes` follows the mail as Postfix does: cleanup(8) rewrites the addresses,
trivial-rewrite(8) resolves them, the queue manager chooses the service, and smtp(8) looks up TLS policy and login. The
answer is that of the configuration alone. Where a table that Python cannot search decides, or DNS, the answer is
"unknown", and names the table.
"""

from postward.config.routing.configuration import Configuration
from postward.config.routing.hops import Hop, Login
from postward.config.routing.resolve import Origin
from postward.config.routing.route import INTERNAL, PICKUP, Route, routes
from postward.config.routing.tables import Tables

__all__ = ["INTERNAL", "PICKUP", "Configuration", "Hop", "Login", "Origin", "Route", "Tables", "routes"]
