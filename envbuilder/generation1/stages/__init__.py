"""The five stages of the paper, a file each, without a model; scenario.py asks wording.py for its sentences."""
