"""Registries that start no process which imports torch, for tests that load nothing."""

from __future__ import annotations

import pytest

from modelhub.core.one_machine import LocalMachine
from modelhub.core.registry import Registry


def start_no_zygote(registry: Registry, patch: pytest.MonkeyPatch) -> None:
    """Have a registry of this machine start none: every load fails."""
    for machine in registry.machines.all():
        assert isinstance(machine, LocalMachine)
        patch.setattr(machine.launcher, "start", lambda: None)
