"""Faults that are really caused, and what modelhub promises in each."""
