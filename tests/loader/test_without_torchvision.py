"""Image models without torchvision: what works, and what the load says about the rest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import transformers
from PIL import Image
from transformers.utils import is_torchvision_available

from modelhub.inference.pipelines import Predictor
from modelhub.loader import without_torchvision
from modelhub.tasks import EXAMPLE_IMAGE
from tests.support.loads import failure, run, spec_for
from tests.support.task_models import make_qwen2_vl, word_tokenizer

pytestmark = pytest.mark.skipif(
    is_torchvision_available(), reason="with torchvision, videos are part of the processor"
)


def test_qwen2_vl_loads_predicts_and_says_that_videos_are_left_out(tmp_path: Path) -> None:
    make_qwen2_vl(tmp_path / "tiny" / "qwen")
    checkpoints, loaded = run(spec_for("tiny/qwen", tmp_path))
    details = [checkpoint.detail for checkpoint in checkpoints if checkpoint.step == 2]
    assert "videos are left out: torchvision is not installed" in details
    inputs = {"image": EXAMPLE_IMAGE, "text": "what?"}
    (answer,) = Predictor(loaded).predict(inputs, {"max_new_tokens": 2})
    assert answer["generated_text"]


def test_the_newer_file_of_a_processor_is_read_too(tmp_path: Path) -> None:
    folder = make_qwen2_vl(tmp_path / "tiny" / "qwen")
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    (folder / "preprocessor_config.json").unlink()
    nested = {
        "processor_class": "Qwen2VLProcessor",
        "image_processor": settings,
        "video_processor": {"video_processor_type": "Qwen2VLVideoProcessor", "merge_size": 2},
    }
    (folder / "processor_config.json").write_text(json.dumps(nested))
    _, loaded = run(spec_for("tiny/qwen", tmp_path))
    assert type(loaded.processor).__name__ == "Qwen2VLProcessor"
    assert loaded.processor.video_processor.merge_size == 2
    with pytest.raises(ValueError, match="videos are left out"):
        loaded.processor.video_processor([])


@pytest.mark.parametrize(
    ("name", "images"),
    [
        ("Qwen2VLProcessor", "Qwen2VLImageProcessorPil"),
        ("Qwen2_5_VLProcessor", "Qwen2VLImageProcessorPil"),
        ("Qwen3VLProcessor", "Qwen2VLImageProcessorPil"),
        ("LlavaOnevisionProcessor", "LlavaOnevisionImageProcessorPil"),
        ("InternVLProcessor", "GotOcr2ImageProcessorPil"),
    ],
)
def test_processors_of_other_models(tmp_path: Path, name: str, images: str) -> None:
    names = ("start_image_token", "end_image_token", "context_image_token", "video_token")
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer().backend_tokenizer,
        model_specific_special_tokens=dict.fromkeys(names, "[UNK]"),
    )
    tokenizer.save_pretrained(tmp_path)
    getattr(transformers, images)().save_pretrained(tmp_path)
    found = without_torchvision.class_without_video({"processor_class": name}, None)
    processor: Any = without_torchvision.load_without_video(found, str(tmp_path), None)
    assert type(processor).__name__ == name
    assert isinstance(processor.video_processor, without_torchvision.NoVideoProcessor)
    assert "pixel_values" in processor.model_input_names


def test_a_processor_without_a_video_part_is_left_to_transformers() -> None:
    assert without_torchvision.class_without_video({"processor_class": "CLIPProcessor"}, None) is None
    assert without_torchvision.class_without_video({"processor_class": "../evil"}, None) is None
    assert without_torchvision.class_without_video({}, transformers.BertConfig()) is None


def _dinov3(folder: Path, processor: str) -> Path:
    config = transformers.DINOv3ViTConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, image_size=32
    )
    transformers.DINOv3ViTModel(config).save_pretrained(folder)
    settings = {"image_processor_type": processor, "size": {"height": 32, "width": 32}}
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def test_dinov3_loads_and_predicts_with_pillow(tmp_path: Path) -> None:
    _dinov3(tmp_path / "tiny" / "dino", "DINOv3ViTImageProcessorFast")
    _, loaded = run(spec_for("tiny/dino", tmp_path))
    rows = Predictor(loaded).predict(EXAMPLE_IMAGE, {})
    assert len(rows[0][0]) == 32
    pixels = loaded.processor(Image.new("RGB", (64, 48), (200, 30, 30)), return_tensors="pt")["pixel_values"]
    assert pixels.shape == (1, 3, 32, 32)
    expected = [(value / 255 - mean) / std for value, mean, std in zip(
        (200, 30, 30), loaded.processor.image_mean, loaded.processor.image_std, strict=True
    )]  # fmt: skip
    assert pixels[0, :, 5, 5].tolist() == pytest.approx(expected, abs=1e-5)


def test_an_image_processor_that_is_for_torchvision_only_is_named_without_a_command(tmp_path: Path) -> None:
    _dinov3(tmp_path / "tiny" / "dino", "Sam2ImageProcessorFast")
    error = failure(spec_for("tiny/dino", tmp_path))
    assert error.code == "needs_package"
    assert error.message.endswith(": torchvision.")
    assert "pip install" not in error.hint
