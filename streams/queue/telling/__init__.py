"""What the queue says of itself: causes in words, positions, forecasts, histories."""
