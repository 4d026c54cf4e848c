"""A report on logs of any size: what pflogsumm tells and more, from one process, all cores or a cluster.

The stages, in order: `cut.py` (files → chunks), `skim.py` and `counting.py` (lines → `tally.py`), `work.py` and
`on_dask.py` (chunks → one tally), `summary.py` (tally → the report as plain data), `text.py` and `page.py` (→ eyes).

Promise: the report is the same, byte for byte, however the logs were cut and whoever counted the pieces.
"""
