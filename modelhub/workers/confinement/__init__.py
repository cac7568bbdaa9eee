"""Confines the process of a model: what a library does with a hostile file costs that process alone.

``guard`` is what a worker uses; it puts together ``seccomp`` (no network, no other process), ``landlock``
(the model's folder and Python's own to read, nothing to write) and ``bounds`` (memory, computing time).
"""
