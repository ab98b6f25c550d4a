"""The `train` stage's fusion models: build, train, select."""
