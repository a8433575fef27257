"""Gaussian splats of a box: rasterizers, training and metrics."""
