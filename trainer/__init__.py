"""Datasets, training and scores of one person's adapter, and the processes that run them."""
