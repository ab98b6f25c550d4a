"""Corpora for training: tables and feature caches to batches."""
