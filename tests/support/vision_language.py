"""Tiny models that read images and text: one of each family, with a tokenizer and no image processor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from transformers import CONFIG_MAPPING, AutoModelForImageTextToText

from tests.support.models import byte_tokenizer, save

_SIZE = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
_WORDS = {"vocab_size": 300, "pad_token_id": 258, "bos_token_id": 256, "eos_token_id": 257}
_MORE_TEXT = {"num_key_value_heads": 2, "max_position_embeddings": 128, "head_dim": 16}
_TEXT = _SIZE | _WORDS | _MORE_TEXT
_VISION = _SIZE | {"image_size": 32, "patch_size": 8}
_IMAGE_TOKEN = 290


def _text(model_type: str, **more: Any) -> dict[str, Any]:
    return {"model_type": model_type, **_TEXT, **more}


def _vision(model_type: str, **more: Any) -> dict[str, Any]:
    return {"model_type": model_type, **_VISION, **more}


def _llava(text: str = "llama", vision: str = "clip_vision_model", **more: Any) -> dict[str, Any]:
    return {"text_config": _text(text), "vision_config": _vision(vision), **more}


_M_ROPE = {"rope_type": "default", "mrope_section": [4, 2, 2], "rope_theta": 10000.0}
_QWEN_VISION = {
    **{"depth": 2, "num_heads": 2, "patch_size": 8},
    **{"spatial_merge_size": 2, "temporal_patch_size": 2},
}
_QWEN_TOKENS = {
    **{"image_token_id": 290, "video_token_id": 291},
    **{"vision_start_token_id": 292, "vision_end_token_id": 293},
}
_IDEFICS = {"text_config": _text("llama"), "image_token_id": _IMAGE_TOKEN, "scale_factor": 2}
_GEMMA_TEXT = {"sliding_window": 16, "query_pre_attn_scalar": 16}

# The settings of each family; what they do not name is transformers' default.
FAMILIES: dict[str, dict[str, Any]] = {
    "aria": {
        "text_config": _text("aria_text", moe_num_experts=2, moe_topk=1, moe_num_shared_experts=1),
        "vision_config": _vision("idefics3_vision"),
        "projector_patch_to_query_dict": {"16": 4},
    },
    "aya_vision": {
        "text_config": _text("cohere2", sliding_window=16),
        "vision_config": _vision("siglip_vision_model"),
        "downsample_factor": 2,
        "alignment_intermediate_size": 32,
    },
    "blip-2": {
        "text_config": _text("opt", ffn_dim=64, word_embed_proj_dim=32),
        "vision_config": _VISION,
        "qformer_config": _SIZE | {"vocab_size": 300, "encoder_hidden_size": 32},
        "num_query_tokens": 4,
        "image_token_index": _IMAGE_TOKEN,
    },
    "cohere2_vision": _llava(
        "cohere2", "siglip_vision_model", downsample_factor=2, alignment_intermediate_size=32
    ),
    "deepseek_vl": {
        "text_config": _text("llama"),
        "vision_config": _vision("siglip_vision_model"),
        "image_token_id": _IMAGE_TOKEN,
    },
    "gemma3": {
        "text_config": _text("gemma3_text", **_GEMMA_TEXT),
        "vision_config": _vision("siglip_vision_model"),
        "mm_tokens_per_image": 4,
        **{"boi_token_index": 288, "eoi_token_index": 289, "image_token_index": _IMAGE_TOKEN},
    },
    "got_ocr2": {
        "text_config": _text("qwen2"),
        "vision_config": {
            "hidden_size": 32,
            "output_channels": 16,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "image_size": 64,
            "patch_size": 8,
            "window_size": 4,
            "mlp_dim": 64,
            "global_attn_indexes": [1],
        },
        "image_token_index": _IMAGE_TOKEN,
    },
    "idefics2": {
        "text_config": _text("mistral"),
        "vision_config": _VISION,
        "perceiver_config": {
            "hidden_size": 32,
            "resampler_n_latents": 4,
            "resampler_depth": 1,
            "resampler_n_heads": 2,
            "resampler_head_dim": 16,
            "num_key_value_heads": 2,
        },
        "image_token_id": _IMAGE_TOKEN,
    },
    "idefics3": _IDEFICS | {"vision_config": _VISION},
    "internvl": {
        "text_config": _text("qwen2"),
        "vision_config": _SIZE | {"image_size": [32, 32], "patch_size": [8, 8]},
        "image_token_id": _IMAGE_TOKEN,
    },
    "lfm2_vl": {
        "text_config": _text("lfm2"),
        "vision_config": _SIZE | {"patch_size": 8, "num_patches": 16},
        "image_token_id": _IMAGE_TOKEN,
    },
    "llama4": {
        "text_config": _text("llama4_text", num_local_experts=2, intermediate_size_mlp=64, moe_layers=[0]),
        "vision_config": _VISION
        | {"vision_output_dim": 32, "projector_input_dim": 32, "projector_output_dim": 32},
    },
    "llava": _llava(),
    "llava_next": _llava(image_grid_pinpoints=[[32, 64], [64, 32]]),
    "llava_next_video": _llava(image_grid_pinpoints=[[32, 64], [64, 32]]),
    "llava_onevision": _llava("qwen2", "siglip_vision_model", image_grid_pinpoints=[[32, 64]]),
    "mistral3": _llava("mistral", "pixtral"),
    "mllama": {
        "text_config": _text("mllama_text_model", cross_attention_layers=[1]),
        "vision_config": {
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_global_layers": 1,
            "attention_heads": 2,
            "image_size": 32,
            "patch_size": 8,
            "vision_output_dim": 96,
            "intermediate_layers_indices": [0, 1],
        },
    },
    "ovis2": {
        "text_config": _text("qwen2"),
        "vision_config": _VISION | {"vocab_size": 64},
        "visual_indicator_token_ids": [290, 291, 292, 293, 294],
        "image_token_id": 295,
        **{"vocab_size": 300, "hidden_size": 32},
    },
    "paligemma": _llava("gemma", "siglip_vision_model", projection_dim=32),
    "qwen2_vl": {
        "text_config": _text("qwen2_vl_text", rope_parameters=_M_ROPE),
        "vision_config": {**_QWEN_VISION, "embed_dim": 32, "hidden_size": 32},
        **_QWEN_TOKENS,
    },
    "qwen2_5_vl": {
        "text_config": _text("qwen2_5_vl_text", rope_parameters=_M_ROPE),
        "vision_config": {**_QWEN_VISION, "hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64},
        **_QWEN_TOKENS,
    },
    "qwen3_vl": {
        "text_config": _text("qwen3_vl_text", rope_parameters=_M_ROPE),
        "vision_config": {
            **_QWEN_VISION,
            **{"hidden_size": 32, "out_hidden_size": 32, "intermediate_size": 64},
            **{"num_position_embeddings": 16, "deepstack_visual_indexes": [0]},
        },
        **_QWEN_TOKENS,
    },
    "smolvlm": _IDEFICS | {"vision_config": _VISION},
    "video_llava": _llava(),
    "vipllava": _llava(vision_feature_layers=[-1, -2]),
}


def make(family: str, folder: Path) -> Path:
    """Write the tiny model of a family."""
    config = CONFIG_MAPPING[family](**FAMILIES[family])
    return save(folder, AutoModelForImageTextToText.from_config(config), byte_tokenizer())
