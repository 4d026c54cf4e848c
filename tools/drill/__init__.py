"""The fault drill: a fleet of hosts on the test bed, each with its fault, before a real Prometheus and Alertmanager."""
