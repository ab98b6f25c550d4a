"""Feature extraction: encoders, readers of media, pretrained networks, and the engine that runs them."""
