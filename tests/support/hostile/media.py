"""Settings of image processors and feature extractors that make gigabytes of a small picture or a second of sound."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.support.hostile.case import Case, changed, numbered

_FILE = "preprocessor_config.json"
_SIDE = 20_000


def cases() -> Iterator[Case]:
    """All of this family."""
    sizes: list[tuple[str, dict[str, Any]]] = [
        ("square", {"size": {"height": _SIDE, "width": _SIDE}}),
        ("wide", {"size": {"height": 1, "width": 10**9}}),
        ("number", {"size": _SIDE}),
        ("shortest", {"size": {"shortest_edge": _SIDE}}),
        ("digits", {"size": {"height": 10**1000, "width": 10**1000}}),
        ("area", {"size": {"height": 4000, "width": 4000}}),
        ("huge", {"size": {"height": 2**40, "width": 2**40}}),
    ]
    yield from numbered(
        "pixels", "tiny/vit", "refused bad_tokenizer", [(n, changed(_FILE, **c)) for n, c in sizes]
    )
    nested: list[tuple[str, dict[str, Any]]] = [
        ("square", {"size": {"height": _SIDE, "width": _SIDE}}),
        ("shortest", {"size": {"shortest_edge": _SIDE}}),
        ("longest", {"size": {"longest_edge": _SIDE, "shortest_edge": _SIDE}}),
        ("crop", {"crop_size": {"height": _SIDE, "width": _SIDE}, "do_center_crop": True}),
        ("crop-number", {"crop_size": _SIDE}),
        ("pad", {"pad_size": {"height": _SIDE, "width": _SIDE}, "do_pad": True}),
    ]
    yield from numbered("pixels-in-processor", "tiny/clip", "refused bad_tokenizer", [
        (n, changed("processor_config.json", image_processor={"image_processor_type": "CLIPImageProcessorPil", **c}))
        for n, c in nested
    ])  # fmt: skip
    other: list[tuple[str, dict[str, Any]]] = [
        ("sam", {"image_processor_type": "SamImageProcessor", "size": {"longest_edge": _SIDE}}),
        ("sam-pad", {"image_processor_type": "SamImageProcessor", "pad_size": {"height": _SIDE, "width": _SIDE}}),
        ("qwen", {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 10**9, "max_pixels": 10**10}),
        ("qwen-size", {"image_processor_type": "Qwen2VLImageProcessor",
                       "size": {"shortest_edge": 10**9, "longest_edge": 10**10}}),
        ("divisor", {"image_processor_type": "VitMatteImageProcessor", "size_divisor": 10**6}),
        ("multiple", {"image_processor_type": "DPTImageProcessor", "ensure_multiple_of": 10**6}),
        ("crop-percent", {"image_processor_type": "ConvNextImageProcessor", "crop_pct": 1e-6}),
        ("patches", {"image_processor_type": "Pix2StructImageProcessor", "max_patches": 10**9}),
        ("tiles", {"image_processor_type": "MllamaImageProcessor", "max_image_tiles": 10**6}),
        ("tiles-least", {"image_processor_type": "GotOcr2ImageProcessor", "min_patches": 10**4}),
        ("num-patches", {"image_processor_type": "Siglip2ImageProcessor", "max_num_patches": 10**9}),
        ("pinpoints", {"image_processor_type": "LlavaNextImageProcessor",
                       "image_grid_pinpoints": [[_SIDE, _SIDE]]}),
    ]  # fmt: skip
    yield from numbered("pixels-of", "tiny/vit", "refused bad_tokenizer needs_package", [
        (n, changed(_FILE, **c)) for n, c in other
    ])  # fmt: skip
    sound: list[tuple[str, dict[str, Any]]] = [
        ("rate", {"sampling_rate": 300_000_000}),
        ("rate-negative", {"sampling_rate": -1}),
        ("hop", {"hop_length": 1}),
        ("digits", {"hop_length": 10**1000, "chunk_length": 10**1000}),
        ("hop-none", {"hop_length": 0}),
        ("features", {"feature_size": 1_000_000}),
        ("filters", {"feature_size": 4000, "n_fft": 60_000}),
        ("window", {"n_fft": 10**9}),
        ("chunk", {"chunk_length": 10**6}),
        ("chunk-rate", {"chunk_length": 1000, "sampling_rate": 192_000}),
    ]
    yield from numbered("sound-whisper", "tiny/whisper", "refused bad_tokenizer", [
        (n, changed(_FILE, **c)) for n, c in sound
    ])  # fmt: skip
    yield from numbered("sound-in-processor", "tiny/wav2vec2", "refused bad_tokenizer", [
        (n, changed("processor_config.json", feature_extractor={
            "feature_extractor_type": "Wav2Vec2FeatureExtractor", **c}))
        for n, c in (("rate", {"sampling_rate": 300_000_000}), ("rate-infinite", {"sampling_rate": float("inf")}))
    ])  # fmt: skip
    others: list[tuple[str, dict[str, Any]]] = [
        ("spectrogram", {"feature_extractor_type": "ASTFeatureExtractor", "max_length": 10**9}),
        ("bins", {"feature_extractor_type": "ASTFeatureExtractor", "num_mel_bins": 10**6}),
        ("clap", {"feature_extractor_type": "ClapFeatureExtractor", "max_length_s": 10**6}),
        ("clap-window", {"feature_extractor_type": "ClapFeatureExtractor", "fft_window_size": 2**24}),
        ("speecht5", {"feature_extractor_type": "SpeechT5FeatureExtractor", "win_length": 10**6}),
        ("multiple", {"feature_extractor_type": "VibeVoiceAcousticTokenizerFeatureExtractor",
                      "pad_to_multiple_of": 10**9}),
    ]  # fmt: skip
    yield from numbered("sound-of", "tiny/whisper", "refused bad_tokenizer needs_package", [
        (n, changed(_FILE, **c)) for n, c in others
    ])  # fmt: skip
