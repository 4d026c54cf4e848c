"""What is made for Prometheus, Alertmanager and Grafana; the files beside are written by `python -m grafana` (make docs)."""
