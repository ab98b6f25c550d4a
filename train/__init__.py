"""Training: from feature caches and labels to models."""
