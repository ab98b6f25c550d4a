"""The engine: run an encoder on all utterances, keep the outcomes in a journal, and write the feature file."""
