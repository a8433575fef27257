"""CitySplat's Dagster wiring: it decides nothing and computes nothing."""
