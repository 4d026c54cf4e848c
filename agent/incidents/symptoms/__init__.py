"""The catalogue's rows, by what they are about. A new one is a row here and a log in `tests/corpus/traps/`."""
