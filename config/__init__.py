"""The configuration of a host: settings, desired state, lint, drift, plan. Pure, apart from loading settings."""
