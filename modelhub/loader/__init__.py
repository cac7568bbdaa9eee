"""What a load does: ``nine_steps.load`` is the load, a generator of checkpoints without any server.

This module imports nothing, so that the process that reads files ahead can use ``files`` and ``reading``
without waiting for torch.
"""
