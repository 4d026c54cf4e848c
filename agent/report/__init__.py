"""Reports on logs of any size, from one process, all cores or a Dask cluster.

The stages, in order: `chunks.py` (files → chunks), `counter.py` (lines → `tally.py`), `workers.py` and
`dask.py` (chunks → one tally), `summary.py` (tally → the report as plain data), `text.py` and `html.py` (→ display).

Promise: the report is the same, byte for byte, however the logs were cut and distributed.
"""
