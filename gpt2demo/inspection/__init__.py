"""Looking inside a model: hooks in, frozen records of numbers out."""
