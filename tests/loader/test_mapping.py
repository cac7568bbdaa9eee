"""Tensors that are mapped from a file: equal to what safetensors reads, and not read before they are used."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from modelhub.errors import ModelhubError
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.files.weight_files import read_weight_files
from modelhub.loader.mapping import DTYPES, map_tensors
from tests.support.resident import drop, resident_bytes

NAME = "model.safetensors"


def inspected(folder: Path) -> tuple[Files, WeightFile]:
    """The weight file of a folder, as a load inspects it."""
    files = Files("m", folder)
    (weight,) = read_weight_files(files, (NAME,))
    return files, weight


def mapped(folder: Path) -> dict[str, torch.Tensor]:
    """The mapped tensors of a folder."""
    return map_tensors(*inspected(folder))


def of_every_dtype() -> dict[str, torch.Tensor]:
    """A few tensors of each dtype: a matrix, a scalar, an empty one."""
    torch.manual_seed(3)
    tensors = {}
    for name, dtype in DTYPES.items():
        whole = torch.randint(0, 2 if name == "BOOL" else 100, (3, 5))
        matrix = torch.randn(3, 5).to(dtype) if dtype.is_floating_point else whole.to(dtype)
        tensors |= {f"{name}.matrix": matrix, f"{name}.scalar": matrix[1, 2].clone()}
        tensors[f"{name}.empty"] = torch.empty((0, 4), dtype=dtype)
    return tensors


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        assert (ours[name].dtype, ours[name].shape) == (tensor.dtype, tensor.shape), name
        assert torch.equal(ours[name], tensor), name


def test_every_dtype_is_as_safetensors_reads_it(tmp_path: Path) -> None:
    save_file(of_every_dtype(), tmp_path / NAME)
    assert_same(mapped(tmp_path), load_file(tmp_path / NAME))


@pytest.mark.parametrize("shift", range(8))
def test_a_header_of_any_length_is_understood(tmp_path: Path, shift: int) -> None:
    """safetensors aligns its header to 8 bytes; the format does not demand it."""
    save_file(of_every_dtype(), tmp_path / NAME)
    data = (tmp_path / NAME).read_bytes()
    length = int.from_bytes(data[:8], "little")
    text = json.dumps(json.loads(data[8 : 8 + length])).encode()
    text += b" " * (-len(text) % 8 + shift)
    (tmp_path / NAME).write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
    tensors = mapped(tmp_path)
    assert_same(tensors, load_file(tmp_path / NAME))
    assert all(tensor.data_ptr() % tensor.element_size() == 0 for tensor in tensors.values())


def test_writing_to_a_tensor_leaves_the_file_and_other_mappings_alone(tmp_path: Path) -> None:
    save_file({"a": torch.ones(4096), "b": torch.ones(3)}, tmp_path / NAME)
    before = (tmp_path / NAME).read_bytes()
    tensors, others = mapped(tmp_path), mapped(tmp_path)
    for tensor in tensors.values():
        tensor.fill_(7)
    assert (tmp_path / NAME).read_bytes() == before
    assert float(others["a"].sum()) == 4096
    assert float(tensors["a"].sum()) == 7 * 4096


def test_mapping_reads_nothing(tmp_path: Path) -> None:
    path = tmp_path / NAME
    save_file({f"t{number}": torch.ones(2**20) for number in range(16)}, path)
    files, weight = inspected(tmp_path)
    drop(path)
    size = path.stat().st_size
    if resident_bytes(path) > size // 100:
        pytest.skip("this file system does not evict files from memory")
    tensors = map_tensors(files, weight)
    assert resident_bytes(path) <= size // 100
    assert float(tensors["t3"].sum()) == 2**20
    assert resident_bytes(path) >= 4 * 2**20, "what is used is read"


def test_tensors_outlive_the_mapping_and_the_file(tmp_path: Path) -> None:
    save_file({"a": torch.arange(5000)}, tmp_path / NAME)
    tensor = mapped(tmp_path)["a"]
    (tmp_path / NAME).unlink()
    assert torch.equal(tensor, torch.arange(5000))


def test_a_file_that_has_shrunk_is_not_mapped(tmp_path: Path) -> None:
    save_file({"a": torch.ones(5000)}, tmp_path / NAME)
    files, weight = inspected(tmp_path)
    os.truncate(tmp_path / NAME, weight.size - 1)
    with pytest.raises(ModelhubError) as caught:
        map_tensors(files, weight)
    assert caught.value.code.startswith("corrupt")


def test_a_dtype_that_cannot_be_mapped_is_a_key_error(tmp_path: Path) -> None:
    save_file({"a": torch.ones(8, dtype=torch.float8_e4m3fn)}, tmp_path / NAME)
    with pytest.raises(KeyError):
        mapped(tmp_path)
