"""CitySplat's library: from an area on the map to a walkable city, step by step.

The library never imports the orchestrator, reads no environment variable and prints nothing.
"""
