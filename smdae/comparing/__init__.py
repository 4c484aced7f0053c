"""Comparing: the same fit with every objective, side by side.

contest        what all contestants have in common
contestants    the fits
evaluation     every model under every objective
part, parts    what a part of the comparison is, and the table of them; each has a folder of its own:
               equivalence, estimator, cost, learning, denoising, learned
comparison     all of it in turn
profiling      seconds and bytes of a call
record         the figures: results.json, its schema, CSV
report         the figures as a person reads them
"""
