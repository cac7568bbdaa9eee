"""Folders of hostile models: each is a tiny real model with one change, and the codes that its load may end with."""
