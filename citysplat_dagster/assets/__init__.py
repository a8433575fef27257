"""The assets, one module a stage; each builds its definitions from the plan's partitions."""
