"""Export of events: JSON lines and Parquet."""
