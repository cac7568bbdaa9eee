"""The fast path of step 5: maps the tensors from the files into a model on the meta device.

from_pretrained also renames, converts, quantises and initialises tensors. If a model needs none of that,
which is checked first, this gives the same model in less time. It uses private API of transformers: on
anything unexpected, from_pretrained is used instead.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from transformers.conversion_mapping import get_model_conversion_mapping
from transformers.modeling_utils import LoadStateDictConfig, LoadStateDictInfo

from modelhub.loader.background import Cancel
from modelhub.loader.files.headers import FLOATS
from modelhub.loader.files.opening import Files, WeightFile
from modelhub.loader.mapping import DTYPES, map_tensors
from modelhub.loader.reading.pieces import forward_order
from modelhub.loader.strategy import Plan

log = logging.getLogger(__name__)


def assemble_mapped(
    plan: Plan,
    files: Files,
    weights: Sequence[WeightFile],
    wait: Callable[[list[str]], None],
    cancel: Cancel,
    on_converted: Callable[[], None] = lambda: None,
) -> Any | None:
    """The model with its tensors mapped from the files; None if from_pretrained is needed.

    Their bytes may still be on their way into memory. A tensor of another floating-point dtype than the
    plan's is converted; ``wait`` is called with its name before, ``on_converted`` after it. Changes the
    skeleton of ``plan``, which is the model returned. Raises Cancelled, and what ``wait`` raises.
    """
    model = plan.skeleton
    try:
        if not _fits(plan, weights):
            return None
        state: dict[str, torch.Tensor] = {}
        for weight in weights:
            cancel.check()
            state |= map_tensors(files, weight)
        _convert(state, plan.dtype, wait, on_converted)
        _place(model, state)
        _finish(model, plan, files)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError) as error:
        log.info("Loading %s with from_pretrained: %s", files.model_id, error)
        return None
    return model


def _fits(plan: Plan, weights: Sequence[WeightFile]) -> bool:
    """Whether files and model have the same tensors, in the same shapes, and dtypes that can be converted."""
    model, config = plan.skeleton, plan.config
    special = [
        getattr(config, name, None) for name in ("quantization_config", "fusion_config", "extra_files")
    ]
    if (
        any(special)
        or model._get_dtype_plan(plan.dtype)
        or get_model_conversion_mapping(model, add_legacy=False)
    ):
        return False
    places = model.state_dict(keep_vars=True)
    tensors = {tensor.name: tensor for weight in weights for tensor in weight.tensors}
    if set(tensors) != set(places) - set(model.all_tied_weights_keys):
        return False
    for name, tensor in tensors.items():
        place = places[name]
        is_float = tensor.dtype in FLOATS
        same = place.is_floating_point() if is_float else DTYPES.get(tensor.dtype) == place.dtype
        if not same or tuple(tensor.shape) != tuple(place.shape):
            return False
    return True


def is_in_place(plan: Plan, weights: Sequence[WeightFile]) -> bool:
    """Whether the model needs no tensor but as the files have it."""
    try:
        return _fits(plan, weights) and not converts(plan, weights)
    except (AttributeError, KeyError, RuntimeError, TypeError, ValueError):
        return False


def converts(plan: Plan, weights: Sequence[WeightFile]) -> bool:
    """Whether a tensor has another floating-point dtype than the plan's."""
    found = {tensor.dtype for weight in weights for tensor in weight.tensors if tensor.dtype in FLOATS}
    return any(DTYPES[name] != plan.dtype for name in found)


def _convert(
    state: dict[str, torch.Tensor],
    dtype: torch.dtype,
    wait: Callable[[list[str]], None],
    on_converted: Callable[[], None],
) -> None:
    """Convert what has another floating-point dtype, in the order in which it is read."""
    wrong = [name for name, tensor in state.items() if tensor.is_floating_point() and tensor.dtype != dtype]
    for name in sorted(wrong, key=forward_order):
        wait([name])
        state[name] = state[name].to(dtype)
        on_converted()


def _place(model: Any, state: dict[str, torch.Tensor]) -> None:
    """Set every tensor of the model, and mark what then has nothing left to be initialised.

    load_state_dict(assign=True) does the same in three times the time.
    """
    modules = dict(model.named_modules())
    tensor: Any
    for name, tensor in state.items():
        path, _, leaf = name.rpartition(".")
        module = modules[path]
        if leaf in module._parameters:
            tensor = torch.nn.Parameter(tensor, requires_grad=module._parameters[leaf].requires_grad)
            module._parameters[leaf] = tensor
        else:
            module._buffers[leaf] = tensor
        tensor._is_hf_initialized = True
    for module in modules.values():
        # A module with others in it may initialise those: transformers decides by itself.
        if not module._modules and not module._buffers:
            module._is_hf_initialized = all(map(_is_set, module._parameters.values()))


def _is_set(parameter: torch.nn.Parameter | None) -> bool:
    return parameter is None or not parameter.is_meta


def _finish(model: Any, plan: Plan, files: Files) -> None:
    """The last steps of from_pretrained: compute buffers, tie weights, set up generation."""
    nothing: set[Any] = set()
    info = LoadStateDictInfo(
        missing_keys=set(model.all_tied_weights_keys),
        unexpected_keys=nothing,
        mismatched_keys=nothing,
        error_msgs=[],
        conversion_errors={},
        skipped_pp_keys=nothing,
    )
    model.config.name_or_path = model.name_or_path = str(files.folder)
    load_config = LoadStateDictConfig(pretrained_model_name_or_path=str(files.folder), dtype=plan.dtype)
    type(model)._finalize_model_loading(model, load_config, info)
    model.eval()
    if model.can_generate() and hasattr(model, "adjust_generation_fn"):
        unset = dict.fromkeys(("cache_dir", "proxies", "token", "revision"))
        flags = {"force_download": False, "local_files_only": True, "trust_remote_code": False}
        model.adjust_generation_fn(None, False, None, str(files.folder), subfolder="", **flags, **unset)
