"""What the public module `metrics` measures on fitted estimators."""
