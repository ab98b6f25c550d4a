"""The fusion models, a folder each: batches of whole dialogues, or of utterances with their frames, in; answers out."""
