"""The checks of `postward doctor`: problems of a host other than its configuration.

`system.py` reads the facts of the host, `rules.py` has the rules over them, `relays.py` has the findings of the relay
checks. `postward.config.lint` finds problems of the settings and of Postfix's configuration.
"""
