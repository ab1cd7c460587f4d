"""Models on this machine, prompted and read on this side."""
