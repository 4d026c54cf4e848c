"""The dashboards: what is in their files, and what their queries give."""
