"""From checkpoint tuples to events: what is measured, what is estimated, what is told to whom."""
