"""The server-rendered pages and what they show."""
