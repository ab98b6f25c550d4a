"""The page that shows whose face a stream takes."""
