"""One fit, from what it decides before its first step to its result."""
