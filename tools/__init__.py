"""Programs for developers: demo, benchmarks, soaks, drills, recorders, host tests."""
