"""The five stages of the procedural generator, one file each."""
