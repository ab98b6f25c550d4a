"""Grids of DVC experiments, their tables, and tests for differences."""
