"""Are the objectives that theory has for one equal but for a constant? Gradients, intervals, verdicts, a path."""
