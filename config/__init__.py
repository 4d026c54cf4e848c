"""What the host should be: settings, desired state, drift, plan. Pure, apart from loading settings."""
