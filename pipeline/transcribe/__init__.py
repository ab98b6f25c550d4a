"""Turn bare recordings into tables of utterances: who says what, and when."""
