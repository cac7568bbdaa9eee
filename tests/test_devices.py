"""Which devices a load can have, without torch; folders stand in for /dev of machines with GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from modelhub import devices
from modelhub.errors import ModelhubError


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A machine with two GPUs and a torch that supports them."""
    for name in ("nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"):
        (tmp_path / name).touch()
    count = devices._gpu_count(tmp_path, {})
    monkeypatch.setattr(devices, "_gpu_count", lambda: count)
    monkeypatch.setattr(devices, "_torch_supports_gpus", lambda: True)
    monkeypatch.setattr(devices, "_has_mps", lambda: False)


def test_here_they_are_those_that_torch_finds() -> None:
    found = devices.devices()
    assert found[:2] == ("auto", "cpu")
    assert any(name.startswith("cuda") for name in found) == torch.cuda.is_available()
    assert ("mps" in found) == torch.backends.mps.is_available()
    assert devices._torch_supports_gpus() == bool(torch.version.cuda or torch.version.hip)


@pytest.mark.usefixtures("gpus")
def test_gpus_are_numbered_where_there_are_several() -> None:
    assert devices.devices() == ("auto", "cpu", "cuda:0", "cuda:1")
    for device in ("auto", "cpu", "cuda", "cuda:1"):
        devices.check_device(device)
    with pytest.raises(ModelhubError) as caught:
        devices.check_device("cuda:2")
    assert caught.value.code == "no_device"
    assert devices.why_missing("cuda:2") == "This machine has 2 GPUs, the first is cuda:0."


@pytest.mark.parametrize(
    ("names", "visible", "count"),
    [
        ((), None, 0),
        (("nvidiactl", "nvidia-uvm", "nvidia-caps"), None, 0),
        (("nvidia3",), None, 1),
        (("nvidia0", "nvidia1", "nvidia10"), None, 3),
        (("nvidia0", "nvidia1"), "1", 1),
        (("nvidia0", "nvidia1"), "", 0),
        (("nvidia0", "nvidia1"), "-1", 0),
        (("nvidia0",), "GPU-1,GPU-2", 1),
        (("kfd", "dri"), None, 1),
        (("dxg",), None, 1),
    ],
)
def test_gpus_are_counted_as_the_system_shows_them(
    tmp_path: Path, names: tuple[str, ...], visible: str | None, count: int
) -> None:
    for name in names:
        (tmp_path / name).touch()
    environ = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert devices._gpu_count(tmp_path, environ) == count
