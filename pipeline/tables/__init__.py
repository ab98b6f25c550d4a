"""The two tables of a corpus, and its splits."""
