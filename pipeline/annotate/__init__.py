"""Label utterances by hand."""
