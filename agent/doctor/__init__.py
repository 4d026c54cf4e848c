"""What is wrong with a host, beside its configuration: what `postward doctor` looks at.

`system.py` reads facts into a value, `rules.py` holds the rules over it, `relays.py` takes conversations with the relays.
What is wrong with settings and Postfix's configuration is found by `postward.config.lint`.
"""
