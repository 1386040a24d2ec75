"""The worker: takes leases from the log and runs each attempt in a child process."""
