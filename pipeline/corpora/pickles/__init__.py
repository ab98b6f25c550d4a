"""Published feature pickles, read without running their code."""
