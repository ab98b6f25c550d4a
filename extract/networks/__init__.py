"""Pretrained networks: finding and loading weights, and running inference."""
