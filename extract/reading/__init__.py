"""Reading the span of an utterance from a media file: sound, pictures and faces."""
