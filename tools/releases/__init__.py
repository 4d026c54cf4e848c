"""Run Postfix of every supported release through a day of traffic, and check that the parser recognises each line.

Run `python -m tools.releases` as root in the repository's root, on Debian with debootstrap. The scenes are in `scenes_*`;
their recordings are in `tests/corpus/releases` and tested by `test_recorded`.
"""
