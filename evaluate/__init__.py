"""Scoring of trained models, comparison of experiments, and predictions for new recordings."""
