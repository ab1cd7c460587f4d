"""Work on many cores and machines by Ray, which is imported when it is asked for and not before."""
