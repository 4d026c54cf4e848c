"""The fault drill: a fleet of faulty hosts before a real Prometheus and Alertmanager."""
