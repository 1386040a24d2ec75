"""The child process of a worker: one attempt of one job."""
