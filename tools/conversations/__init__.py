"""Sessions of `postward init` on a terminal, each with wrong answers: their ends and the seconds to the first probe."""
