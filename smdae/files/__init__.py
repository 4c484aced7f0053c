"""Files: pictures, stacks, model files, caches, configuration, and the one writer of them all."""
