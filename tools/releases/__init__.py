"""Postfix of every supported release, live: does the parser know each line that a day of traffic makes it write?

Run it from the repository's root, as root, on Debian with debootstrap: ``python -m tools.releases``. The scenes are
in ``scenes``; what was recorded from them is in tests/corpus/releases and held by ``test_recorded``.
"""
