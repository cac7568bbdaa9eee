"""What a loaded model is asked: pipelines, their inputs and outputs."""
