"""Log sources: files, the journal, standard input."""
