"""The audit log proves itself: its tree, its signed checkpoints, and what a stranger verifies."""
