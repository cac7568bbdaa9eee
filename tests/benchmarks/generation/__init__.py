"""Use of a loaded model, beside transformers serve."""
