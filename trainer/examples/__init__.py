"""From a person's entries to a dataset with lineage: pure, and the same for the same seed."""
