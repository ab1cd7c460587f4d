"""`harness view`: a folder of runs in a browser on this machine, followed while they are played."""
