"""Where a model's files come from, checked before anything opens them."""
