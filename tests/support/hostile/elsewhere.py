"""Settings that name files, folders and repositories outside the model's folder."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.hostile.case import (
    LOADS,
    Case,
    Outside,
    change_settings,
    changed,
    numbered,
    replaced,
    write,
)

_TARGETS = {
    "file": "{file}", "pipe": "{pipe}", "zero": "/dev/zero", "passwd": "/etc/passwd", "up": "../../../etc/passwd",
}  # fmt: skip
_TOKENIZER = "tokenizer_config.json"


def _no_tokenizer_json(folder: Path, settings: dict[str, Any], outside: Outside) -> None:
    (folder / "tokenizer.json").unlink()
    for target in ("{file}", "{pipe}"):
        value = outside.file if target == "{file}" else outside.pipe
        settings = {k: v.replace(target, value) if isinstance(v, str) else v for k, v in settings.items()}
    change_settings(folder, _TOKENIZER, settings)


def cases() -> Iterator[Case]:
    """All of this family."""
    for key in (
        "vocab",
        "merges",
        "vocab_file",
        "merges_file",
        "gguf_file",
        "target_spm",
        "emoji_file",
        "vocab_path",
    ):
        yield from numbered(f"tokenizer-{key}", "tiny/bert", "refused", [
            (name, changed(_TOKENIZER, **{key: target})) for name, target in _TARGETS.items()
        ])  # fmt: skip
    for kind in ("BertTokenizer", "GPT2Tokenizer", "TokenizersBackend", "PreTrainedTokenizerFast"):
        for name in ("file", "pipe"):
            settings = {"tokenizer_class": kind, "vocab": f"{{{name}}}", "merges": f"{{{name}}}"}
            yield from numbered(f"tokenizer-of-{kind}", "tiny/bert", "refused", [
                (name, lambda folder, outside, s=settings: _no_tokenizer_json(folder, s, outside)),
            ])  # fmt: skip
    yield from numbered("tokenizer", "tiny/bert", "refused", [
        ("relative-vocab", changed(_TOKENIZER, vocab="setup.py")),
        ("init-inputs", changed(_TOKENIZER, init_inputs=["{file}"])),
        ("fast-files", changed(_TOKENIZER, fast_tokenizer_files=["../../tokenizer.4.0.json"])),
        ("fast-files-far", changed(_TOKENIZER, fast_tokenizer_files=["{file}"])),
        ("sentencepiece", changed(_TOKENIZER, sp_model_kwargs={"model_file": "{file}"})),
        ("mecab", changed(_TOKENIZER, mecab_kwargs={"mecab_option": "-r {file} -d {model}"})),
        ("sudachi", changed(_TOKENIZER, sudachi_kwargs={"sudachi_config_path": "config.json"})),
        ("jumanpp", changed(_TOKENIZER, jumanpp_kwargs={"x": "{pipe}"})),
        ("nested", changed(_TOKENIZER, extra={"deep": [{"vocab_file": "{file}"}]})),
        ("any-key", changed(_TOKENIZER, anything="{pipe}")),
        ("class", changed(_TOKENIZER, tokenizer_class="AutoModel")),
        ("class-trainer", changed(_TOKENIZER, tokenizer_class="Trainer")),
        ("class-auto", changed(_TOKENIZER, tokenizer_class="AutoTokenizer")),
        ("class-of-config", changed("config.json", tokenizer_class="AutoModelForCausalLM")),
        ("special-tokens", changed("special_tokens_map.json", vocab_file="{file}")),
        ("processor-class", changed(_TOKENIZER, processor_class="AutoModel")),
    ])  # fmt: skip
    yield from numbered("audio-tokenizer", "tiny/wav2vec2", "refused", [
        ("model", changed("processor_config.json", audio_tokenizer={
            "audio_tokenizer_class": "DacModel", "audio_tokenizer_name_or_path": "{model}"})),
        ("pipe", changed("processor_config.json", audio_tokenizer={
            "audio_tokenizer_class": "AutoModel", "audio_tokenizer_name_or_path": "{pipe}"})),
        ("hub", changed("processor_config.json", audio_tokenizer={
            "audio_tokenizer_class": "AutoModel", "audio_tokenizer_name_or_path": "evil/repo"})),
        ("here", changed("processor_config.json", audio_tokenizer={
            "audio_tokenizer_class": "AutoModel", "audio_tokenizer_name_or_path": "."})),
        ("text", changed("processor_config.json", audio_tokenizer="{model}")),
        ("file-of-its-own", changed("audio_tokenizer_config.json",
                                    audio_tokenizer_class="DacModel", audio_tokenizer_name_or_path="{model}")),
        ("file-hub", changed("audio_tokenizer_config.json",
                             audio_tokenizer_class="DacModel", audio_tokenizer_name_or_path="evil/repo")),
    ])  # fmt: skip
    yield from numbered("processor", "tiny/vit", "refused", [
        ("class-info", changed("preprocessor_config.json", image_processor_type="OneFormerImageProcessor",
                               repo_path="{model}", class_info_file="config.json")),
        ("class-info-pipe", changed("preprocessor_config.json", image_processor_type="OneFormerImageProcessor",
                                    repo_path=None, class_info_file="{pipe}")),
        ("class-info-hub", changed("preprocessor_config.json", image_processor_type="OneFormerImageProcessorPil",
                                   class_info_file="ade20k_panoptic.json")),
        ("repository", changed("preprocessor_config.json", image_processor_type="OneFormerImageProcessorPil",
                               repo_path="evil/repo", class_info_file="x.json")),
        ("font", changed("preprocessor_config.json", font="{file}")),
        ("font-up", changed("video_preprocessor_config.json", font="../x.ttf", draw_on_frames=True)),
        ("type-model", changed("preprocessor_config.json", image_processor_type="AutoModel")),
        ("type-trainer", changed("preprocessor_config.json", image_processor_type="TrainingArguments")),
        ("type-path", changed("preprocessor_config.json", image_processor_type="../x.Processor")),
        ("extractor-model", changed("preprocessor_config.json", feature_extractor_type="AutoModel")),
        ("nested-path", changed("preprocessor_config.json", options={"weights_path": "{file}"})),
        ("voice", changed("speaker_embeddings_path.json", repo_or_path="{model}", v={"semantic_prompt": "{file}"})),
        ("voice-up", changed("speaker_embeddings_path.json", v={"semantic_prompt_path": "../../x.npy"})),
    ])  # fmt: skip
    yield from numbered("generation", "tiny/llama", f"{LOADS} refused bad_config", [
        ("assistant", changed("generation_config.json", prompt_lookup_num_tokens=10**9)),
        ("path", changed("generation_config.json", assistant_path="{file}")),
        ("cache", changed("generation_config.json", cache_implementation="../x")),
        ("custom", replaced("custom_generate/generate.py", "raise SystemExit(13)")),
        ("not-json", replaced("generation_config.json", '{"max_length": 1e400}')),
        ("digits", replaced("generation_config.json", '{"max_length": 1' + "0" * 1000 + "}")),
        ("tokens", changed("generation_config.json", eos_token_id=list(range(100_000)))),
        ("decoding", changed("generation_config.json", forced_decoder_ids=[[1, 2]] * 10_000)),
        ("watermark", changed("generation_config.json", watermarking_config={"x": 1})),
        ("compile", changed("generation_config.json", compile_config={"backend": "evil"})),
        ("stops", changed("generation_config.json", stop_strings=["x"] * 10_000)),
        ("beams", changed("generation_config.json", num_beams=10**9, num_return_sequences=10**9)),
    ])  # fmt: skip
    yield from numbered("said-only", "tiny/llama", LOADS, [
        ("name", changed(_TOKENIZER, name_or_path="{file}", special_tokens_map_file="{file}", tokenizer_file="{pipe}")),
        ("auto-map", changed(_TOKENIZER, auto_map={"AutoTokenizer": ["evil--code.T", None]})),
        ("adapter", replaced("adapter_config.json", json.dumps({"base_model_name_or_path": "evil/repo"}))),
        ("peft", _adapter),
    ])  # fmt: skip


def _adapter(folder: Path, outside: Outside) -> None:
    write(
        folder,
        "adapter_config.json",
        json.dumps({"base_model_name_or_path": outside.model, "peft_type": "LORA"}),
    )
    write(folder, "adapter_model.safetensors", b"")
