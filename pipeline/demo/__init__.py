"""The built-in corpus, generated from text."""
