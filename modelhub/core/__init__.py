"""What the server is about: models, their loads, the memory and the journal; no web in it."""
