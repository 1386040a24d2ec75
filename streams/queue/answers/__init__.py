"""What follows from each kind of command."""
