"""Corpora, tables, params and feature caches: the foundation of all other packages."""
