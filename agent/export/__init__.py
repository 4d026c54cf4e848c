"""Events written out: JSON lines and Parquet."""
