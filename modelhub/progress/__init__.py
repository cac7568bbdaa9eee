"""From checkpoint tuples to events: validation, pace, the log of each model."""
