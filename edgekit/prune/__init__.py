"""Which weights and channels a network can do without."""
