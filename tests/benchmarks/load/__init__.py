"""From a click to a usable model: see ``__main__``."""
