"""What the server does: models, their loads, memory and the journal. Knows no web framework."""
