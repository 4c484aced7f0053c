"""Estimating the noise of a picture."""
