"""Scores, tables, plots and the report of one run."""
