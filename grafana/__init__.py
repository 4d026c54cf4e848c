"""Sources of the files for Prometheus, Alertmanager and Grafana, which `python -m grafana` (`make docs`) writes."""
