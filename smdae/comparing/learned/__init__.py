"""What was learned: units, samples, scores, and toys on which nothing is left to chance."""
