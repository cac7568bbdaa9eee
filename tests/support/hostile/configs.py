"""Configurations that make transformers build too much, ask the hub, or fail in a way that says nothing."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.support.hostile.case import LOADS, Case, changed, later, numbered, replaced

_MANY = 10**9
# Types whose configuration makes a list with an entry for each layer, and the setting that says how many.
_LISTS = (
    "afmoe", "arcee", "bamba", "cohere2", "dia_decoder", "dots1", "exaone4", "falcon_h1", "gemma2", "gemma3_text",
    "gemma3n_text", "gpt_oss", "granitemoehybrid", "jamba", "lfm2", "llama4_text", "minimax", "modernbert",
    "nemotron_h", "olmo3", "phimoe", "qwen2", "qwen2_moe", "qwen3", "qwen3_next", "smollm3", "zamba2",
)  # fmt: skip
_NESTED = (
    ("gemma3", "text_config"), ("gemma3n", "text_config"), ("llama4", "text_config"), ("llava", "text_config"),
    ("llava", "vision_config"), ("qwen2_vl", "text_config"), ("aya_vision", "text_config"), ("dia", "decoder_config"),
    ("internvl", "vision_config"), ("mistral3", "text_config"), ("clip", "text_config"), ("blip-2", "qformer_config"),
)  # fmt: skip
_COUNTS = (
    "num_hidden_layers", "n_layer", "n_layers", "num_layers", "encoder_layers", "decoder_layers", "num_blocks",
    "depth", "vision_layers", "num_decoder_layers",
)  # fmt: skip
_BACKBONES = (
    "beit", "conditional_detr", "d_fine", "deformable_detr", "depth_anything", "detr", "dpt", "grounding-dino",
    "mask2former", "maskformer", "mm-grounding-dino", "omdet-turbo", "oneformer", "prompt_depth_anything", "rt_detr",
    "rt_detr_v2", "table-transformer", "tvp", "upernet", "vitmatte", "vitpose", "zoedepth",
)  # fmt: skip
_QUANTIZED = (
    "gguf", "awq", "bitsandbytes", "eetq", "gptq", "aqlm", "quanto", "quark", "fouroversix", "fp_quant", "hqq",
    "compressed-tensors", "fbgemm_fp8", "higgs", "torchao", "bitnet", "vptq", "spqr", "fp8", "nvfp4", "mxfp8",
    "auto-round", "mxfp4", "metal", "sinq", "gemma",
)  # fmt: skip


def cases() -> Iterator[Case]:
    """All of this family."""
    config = "config.json"
    yield from numbered("layers", "tiny/llama", "bad_config unsupported", [
        (kind, changed(config, model_type=kind, num_hidden_layers=_MANY, layer_types=None)) for kind in _LISTS
    ])  # fmt: skip
    yield from numbered("layers-in", "tiny/llama", "bad_config unsupported", [
        (f"{kind}-{part}", changed(config, model_type=kind, **{part: {"num_hidden_layers": _MANY}}))
        for kind, part in _NESTED
    ])  # fmt: skip
    yield from numbered("count", "tiny/llama", "bad_config", [
        (f"{key}-{name}", changed(config, **{key: number}))
        for key in _COUNTS for name, number in (("many", _MANY), ("negative", -_MANY), ("float", 1e12), ("digits", 10**1000))
    ])  # fmt: skip
    yield from numbered("counts", "tiny/llama", "bad_config", [
        ("depths", changed(config, model_type="swin", depths=[_MANY, 2])),
        ("depths-many", changed(config, model_type="swin", depths=[2] * 100_000)),
        ("labels", changed(config, num_labels=30_000_000)),
        ("classes", changed(config, num_classes=30_000_000)),
        ("labels-of-part", changed(config, text_config={"num_labels": 30_000_000})),
        ("architectures", later(lambda: changed(config, architectures=["LlamaModel"] * 50_000))),
        ("architectures-unknown", later(lambda: changed(config, architectures=[f"A{n}" for n in range(50_000)]))),
        ("heads-none", changed(config, num_attention_heads=0)),
        ("hidden", changed(config, hidden_size=2**40)),
        ("vocabulary", changed(config, vocab_size=2**40)),
        ("intermediate", changed(config, intermediate_size=2**40)),
        ("text-for-number", changed(config, num_hidden_layers="9" * 5000)),
        ("list-for-number", changed(config, hidden_size=[64] * 10_000)),
    ])  # fmt: skip
    yield from numbered("parts", "tiny/llama", "bad_config incomplete_weights", [
        ("levels", changed(config, model_type="d_fine", architectures=None, num_feature_levels=10**6)),
        ("codebooks", changed(config, model_type="dac", architectures=None, n_codebooks=10**6)),
        ("tables", changed(config, model_type="gpt2", architectures=None, n_positions=10**6)),
        ("buffers", changed(config, model_type="aimv2_vision_model", architectures=None, image_size=10**5)),
        ("sinusoids", changed(config, model_type="marian", architectures=None, max_position_embeddings=10**7)),
        ("window", changed(config, model_type="swin", architectures=None, window_size=10**4, image_size=10**5)),
        ("experts-more", changed(config, model_type="switch_transformers", architectures=None, num_experts=10**7)),
        ("experts-each", changed(config, model_type="deepseek_v4", architectures=None, num_experts_per_tok=10**5)),
        ("quantizers", changed(config, model_type="mimi", architectures=None, num_quantizers=10**7)),
        ("blocks", changed(config, model_type="xlstm", architectures=None, num_blocks=10**7)),
        ("attends", changed(config, model_type="perceiver", architectures=None, num_self_attends_per_block=10**7)),
        ("window-more", changed(config, model_type="swin2sr", architectures=None, window_size=10**5)),
        ("positions", changed(config, model_type="imagegpt", architectures=None, n_positions=10**6)),
        ("positions-more", changed(config, model_type="openai-gpt", architectures=None, n_positions=10**6)),
        ("speech", changed(config, model_type="seamless_m4t", architectures=None, max_position_embeddings=10**8)),
        ("experts", changed(config, model_type="mixtral", architectures=None, num_local_experts=10**7)),
        ("image", changed(config, model_type="vit", architectures=None, image_size=10**7)),
    ], is_bomb=True)  # fmt: skip
    yield from numbered("type", "tiny/llama", f"unsupported bad_config {LOADS}", [
        ("long", changed(config, model_type="x" * 100_000)),
        ("path", changed(config, model_type="../../etc/passwd")),
        ("module", changed(config, model_type="os")),
        ("none", changed(config, model_type=None)),
        ("architecture", changed(config, model_type="llama", architectures=["Trainer"] )),
    ])  # fmt: skip
    yield from numbered("quantized", "tiny/llama", f"needs_package bad_config incomplete_weights unsupported no_device {LOADS}", [
        (method, changed(config, quantization_config={"quant_method": method, "bits": 4, "group_size": 128}))
        for method in _QUANTIZED
    ])  # fmt: skip
    yield from numbered("setting", "tiny/llama", f"bad_config unsupported incomplete_weights forward_failed {LOADS}", [
        ("dtype", changed(config, dtype="save", torch_dtype="load")),
        ("dtype-table", changed(config, dtype={"": "float32"})),
        ("dtype-complex", changed(config, dtype="complex64")),
        ("dtype-private", changed(config, dtype="__class__")),
        ("quantization-text", changed(config, quantization_config="x")),
        ("quantization-empty", changed(config, quantization_config={})),
        ("quantization-unknown", changed(config, quantization_config={"quant_method": "evil/repo"})),
        ("rope-type", changed(config, rope_parameters={"rope_type": "evil", "rope_theta": 1e4})),
        ("rope-factor", changed(config, rope_parameters={"rope_type": "dynamic", "factor": 1e300, "rope_theta": 1e4})),
        ("rope-theta", changed(config, rope_parameters={"rope_type": "default", "rope_theta": 10**400})),
        ("rope-list", changed(config, rope_parameters={"rope_type": "longrope", "long_factor": [1.0] * 100_000,
                                                       "short_factor": [1.0], "rope_theta": 1e4})),
        ("positions", changed(config, max_position_embeddings=2**60)),
        ("activation", changed(config, hidden_act="os.system")),
        ("labels", changed(config, id2label={"x": "y", "-1": 5}, label2id=7)),
        ("label-keys", changed(config, id2label={str(10**1000): "x"})),
        ("pruned", changed(config, pruned_heads={"0": list(range(100_000))})),
        ("problem", changed(config, problem_type="evil", architectures=["LlamaForSequenceClassification"])),
        ("layer-types", changed(config, layer_types=["evil"] * 2)),
        ("heads", changed(config, num_attention_heads=10**9)),
        ("groups", changed(config, num_key_value_heads=10**9)),
        ("head-size", changed(config, head_dim=10**9)),
        ("epsilon", changed(config, rms_norm_eps="x" * 1000)),
        ("nested-model", changed(config, encoder={"model_type": "llama", "num_hidden_layers": 2})),
        ("tied", changed(config, tie_word_embeddings="yes")),
        ("tokens", changed(config, bos_token_id=10**30, eos_token_id=[10**30] * 10_000)),
        ("method", changed(config, to_dict="x", from_pretrained="y", __class__="z")),
        ("use-cache", changed(config, use_cache={"a": 1}, output_attentions=True, return_dict=False)),
        ("chunks", changed(config, chunk_size_feed_forward=-5)),
    ])  # fmt: skip
    # Python alone is busy here, in no part that can be counted: what ends it is the bound of the worker process.
    yield from numbered("bounds", "tiny/llama", "too_costly", [
        ("levit", replaced(config, json.dumps({"model_type": "levit", "image_size": 10**5}))),
    ], is_bomb=True)  # fmt: skip
    yield from numbered("json", "tiny/llama", "corrupt_own refused", [
        ("empty", replaced(config, "")),
        ("list", replaced(config, "[]")),
        ("cut", replaced(config, '{"model_type": "lla')),
        ("deep", replaced(config, '{"a":' * 100_000 + "1" + "}" * 100_000)),
        ("deep-list", replaced(config, '{"a":' + "[" * 70 + "]" * 70 + "}")),
        ("large", replaced(config, json.dumps({"a": "x" * 1_000_001}))),
        ("digits", replaced(config, '{"model_type": "llama", "hidden_size": ' + "9" * 10_000 + "}")),
        ("bytes", replaced(config, b"\xff\xfe\x00{}")),
        ("nul", replaced(config, b"\0" * 1000)),
    ])  # fmt: skip
    yield from numbered("backbone", "tiny/llama", "refused", [
        (kind, changed(config, model_type=kind, architectures=None, backbone="evil/repo", backbone_config=None,
                       use_timm_backbone=False, use_pretrained_backbone=True))
        for kind in _BACKBONES
    ])  # fmt: skip
    yield from numbered("backbone", "tiny/llama", "refused", [
        ("timm", changed(config, model_type="timm_backbone", backbone="hf-hub:evil/repo")),
        ("timm-folder", changed(config, model_type="timm_backbone", backbone="local-dir:{model}")),
        ("wrapper", changed(config, model_type="timm_wrapper", architecture="hf-hub:evil/repo")),
        ("path", changed(config, model_type="detr", backbone="{model}", backbone_config=None)),
        ("in-part", changed(config, model_type="detr", vision_config={"backbone": "evil/repo"})),
    ])  # fmt: skip
    yield from numbered("backbone-of-timm", "tiny/llama", "needs_package bad_config incomplete_weights", [
        (kind, changed(config, model_type=kind, architectures=None, backbone="resnet50", backbone_config=None,
                       use_timm_backbone=timm, backbone_kwargs={"out_indices": [1]}))
        for kind, timm in (("detr", False), ("dpt", False), ("rt_detr", True), ("conditional_detr", True))
    ])  # fmt: skip
    yield from numbered("ignored", "tiny/llama", LOADS, [
        ("auto-map", changed(config, auto_map={"AutoConfig": "evil--code.C", "AutoModelForCausalLM": "code.M"})),
        ("kernel", changed(config, attn_implementation="evil/kernel", _attn_implementation="evil/kernel")),
        ("experts-kernel", changed(config, experts_implementation="evil/kernel", use_kernels=True)),
        ("weights", changed(config, transformers_weights="{model}/model.safetensors")),
        ("pipelines", changed(config, custom_pipelines={"x": {"impl": "code.P", "pt": ["AutoModel"]}})),
        ("name", changed(config, _name_or_path="{model}", name_or_path="{file}")),
        ("files", changed(config, configuration_files=["config.4.0.0.json"])),
        ("fusion", changed(config, fusion_config={"patch_embeddings": True}, distributed_config={"a": 1})),
        ("commit", changed(config, _commit_hash="../../x")),
    ])  # fmt: skip
