"""What the photo services have in common: asking, pacing, retrying, remembering, downloading."""
