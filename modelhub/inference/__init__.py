"""Predictions with a loaded model: pipelines, their inputs and outputs."""
