"""The checks of `postward doctor`: problems of a host other than its configuration.

`system.py` reads the facts of the host and reports the results of the relay checks; `rules.py` has the rules over the
facts. `postward.config.lint` finds problems of the settings and of Postfix's configuration.
"""
