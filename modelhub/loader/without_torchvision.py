"""Processors that transformers has for torchvision only: without their video part, or with Pillow instead."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoFeatureExtractor, AutoImageProcessor, AutoTokenizer
from transformers.image_processing_backends import PilBackend
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD, PILImageResampling
from transformers.models.auto.processing_auto import PROCESSOR_MAPPING, processor_class_from_name
from transformers.utils import is_torchvision_available

NOTE = "videos are left out: torchvision is not installed"
_LOADERS = {
    "tokenizer": AutoTokenizer,
    "image_processor": AutoImageProcessor,
    "feature_extractor": AutoFeatureExtractor,
}
_VIDEO = "video_processor"


class NoVideoProcessor(dict[str, Any]):
    """Stands in for a video processor: has its settings as attributes, and refuses videos.

    A dictionary, since transformers copies and prints the parts of a processor as JSON.
    """

    model_input_names: ClassVar[list[str]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return self.get(name)

    def __call__(self, *_: Any, **__: Any) -> Any:
        raise ValueError(f"{NOTE}.")


class DINOv3Images(PilBackend):
    """The image processor of DINOv3 with Pillow.

    It resizes pixels of 8 bits, where that of transformers rescales them first: a value can differ by the
    rounding of one pixel, 1/255.
    """

    resample = PILImageResampling.BILINEAR
    image_mean = IMAGENET_DEFAULT_MEAN
    image_std = IMAGENET_DEFAULT_STD
    size: ClassVar[dict[str, int]] = {"height": 224, "width": 224}
    do_resize = True
    do_rescale = True
    do_normalize = True


def image_class(settings: dict[str, Any]) -> Any | None:
    """The class for Pillow in place of an image processor that needs torchvision, where there is one."""
    name = str(settings.get("image_processor_type", "")).removesuffix("Fast")
    return DINOv3Images if name == "DINOv3ViTImageProcessor" and not is_torchvision_available() else None


def class_without_video(settings: dict[str, Any], config: Any) -> Any | None:
    """The model's processor class, if all of it but its video part can be loaded here; else None."""
    if is_torchvision_available():
        return None
    found = processor_class_from_name(str(settings.get("processor_class", "")))
    found = found or PROCESSOR_MAPPING.get(type(config), None)
    if found is None or _VIDEO not in found.get_attributes():
        return None
    others = set(found.get_attributes()) - {_VIDEO}
    return _accepting(found) if others <= _LOADERS.keys() else None


def _accepting(processor_class: Any) -> Any:
    """The class, with a check of its parts that lets the stand-in pass."""

    def check(self: Any, name: str, part: Any) -> Any:
        if name == _VIDEO:
            return NoVideoProcessor
        return processor_class.check_argument_for_proper_class(self, name, part)

    fields = {"check_argument_for_proper_class": check, "__module__": processor_class.__module__}
    return type(processor_class.__name__, (processor_class,), fields)


def load_without_video(processor_class: Any, folder: Any, config: Any) -> Any:
    """The processor of the files in ``folder``; raises what transformers raises."""
    settings, rest = processor_class.get_processor_dict(folder, local_files_only=True)
    parts = [
        NoVideoProcessor(settings.get(_VIDEO) or {})
        if name == _VIDEO
        else _LOADERS[name].from_pretrained(
            folder, config=config, trust_remote_code=False, local_files_only=True
        )
        for name in processor_class.get_attributes()
    ]
    return processor_class.from_args_and_dict(parts, settings, **_own(rest))


def _own(settings: dict[str, Any]) -> dict[str, Any]:
    """Of what transformers returns beside the settings, nothing that belongs to the reading of files."""
    return {name: value for name, value in settings.items() if name not in ("local_files_only", "revision")}
