"""What a training would take: memory a GPU, tokens and operations a step, by arithmetic and without weights."""
