"""A tiny real model for each task of modelhub.tasks, made in a folder with transformers' save_pretrained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import transformers
from tokenizers import pre_tokenizers

from tests.support import models
from tests.support.models import byte_tokenizer, save

_SIZES = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
_VISION = {**_SIZES, "image_size": 32, "patch_size": 8}
_SIDE = {"height": 32, "width": 32}


def word_tokenizer(*special: str, **settings: Any) -> Any:
    """BERT's WordPiece tokenizer of letters, so that no word is unknown."""
    letters = "abcdefghijklmnopqrstuvwxyz0123456789.,?!'"
    words = [
        "[PAD]",
        "[UNK]",
        "[CLS]",
        "[SEP]",
        "[MASK]",
        *special,
        *letters,
        *(f"##{one}" for one in letters),
    ]
    vocabulary = {word: number for number, word in enumerate(words)}
    tokenizer = transformers.BertTokenizer(vocab=vocabulary, **settings)
    if special:
        tokenizer.add_special_tokens({"additional_special_tokens": list(special)})
    return tokenizer


def _bert(head: str, **settings: Any) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        config = transformers.BertConfig(vocab_size=128, max_position_embeddings=128, **_SIZES, **settings)
        model = getattr(transformers, f"Bert{head}")(config)
        return save(folder, model, word_tokenizer(model_max_length=128))

    return make


def _labels(*names: str) -> dict[str, Any]:
    return {"id2label": dict(enumerate(names)), "label2id": {name: n for n, name in enumerate(names)}}


def _image_model(
    name: str, processor: str, config: str, size: Any = None, **settings: Any
) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        made = getattr(transformers, name)(getattr(transformers, config)(**settings))
        images = getattr(transformers, processor)(**({"size": size} if size else {}))
        return save(folder, made, images)

    return make


def make_whisper(folder: Path) -> Path:
    """Whisper with a tokenizer: tests.support.models has one without."""
    config = transformers.WhisperConfig(
        vocab_size=259, d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, bos_token_id=256, eos_token_id=257,
        pad_token_id=258, decoder_start_token_id=256, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: number for number, letter in enumerate(letters)}
    tokenizer = transformers.WhisperTokenizer(vocab=vocabulary | {"<|endoftext|>": 257}, merges=[])
    processor = transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer)
    return save(folder, transformers.WhisperForConditionalGeneration(config), processor)


def make_timed_whisper(folder: Path) -> Path:
    """Whisper that knows languages and times, as those do that are in use: in 60 tokens at most."""
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    special = [
        "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|de|>", "<|translate|>", "<|transcribe|>",
        "<|startofprev|>", "<|nospeech|>", "<|notimestamps|>",
    ]  # fmt: skip
    times = [f"<|{number * 0.02:.2f}|>" for number in range(1501)]
    ids = {name: number for number, name in enumerate((*letters, *special, *times))}
    tokenizer = transformers.WhisperTokenizer(
        vocab={name: ids[name] for name in (*letters, special[0])}, merges=[]
    )
    tokenizer.add_special_tokens({"additional_special_tokens": special[1:]})
    tokenizer.add_tokens(times)
    config = transformers.WhisperConfig(
        vocab_size=len(ids), d_model=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=64, decoder_ffn_dim=64, bos_token_id=ids["<|endoftext|>"],
        eos_token_id=ids["<|endoftext|>"], pad_token_id=ids["<|endoftext|>"], suppress_tokens=None,
        decoder_start_token_id=ids["<|startoftranscript|>"], begin_suppress_tokens=None,
    )  # fmt: skip
    model = transformers.WhisperForConditionalGeneration(config)
    settings: dict[str, Any] = {
        "_from_model_config": False,
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "prev_sot_token_id": ids["<|startofprev|>"],
        "lang_to_id": {name: ids[name] for name in ("<|en|>", "<|de|>")},
        "task_to_id": {name: ids[f"<|{name}|>"] for name in ("transcribe", "translate")},
        "is_multilingual": True,
        "max_initial_timestamp_index": 50,
        "max_length": 60,
        "alignment_heads": [[0, 0], [0, 1]],
    }
    for name, value in settings.items():
        setattr(model.generation_config, name, value)
    return save(
        folder, model, transformers.WhisperProcessor(transformers.WhisperFeatureExtractor(), tokenizer)
    )


def make_audio_classifier(folder: Path) -> Path:
    """A wav2vec2 with two labels."""
    config = transformers.Wav2Vec2Config(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2,
        conv_dim=(16, 16), conv_kernel=(10, 8), conv_stride=(8, 8), num_feat_extract_layers=2,
        num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2, classifier_proj_size=16,
        **_labels("speech", "music"),
    )  # fmt: skip
    return save(
        folder,
        transformers.Wav2Vec2ForSequenceClassification(config),
        transformers.Wav2Vec2FeatureExtractor(),
    )


def make_clap(folder: Path) -> Path:
    """A model that compares sounds with texts."""
    config = transformers.ClapConfig(
        text_config={"vocab_size": 259, "max_position_embeddings": 64, "pad_token_id": 1, **_SIZES},
        audio_config={
            "spec_size": 128, "patch_embeds_hidden_size": 16, "depths": [1, 1], "num_attention_heads": [2, 2],
            "hidden_size": 32, "num_hidden_layers": 2, "window_size": 4, "num_mel_bins": 64,
        },
        projection_dim=16,
    )  # fmt: skip
    extractor = transformers.ClapFeatureExtractor(truncation="rand_trunc", max_length_s=1)
    processor = transformers.ClapProcessor(extractor, byte_tokenizer())
    return save(folder, transformers.ClapModel(config), processor)


def make_speecht5(folder: Path) -> Path:
    """A speech synthesiser that returns spectrograms. Its tokenizer is one of bytes, not of SentencePiece."""
    config = transformers.SpeechT5Config(
        vocab_size=259, hidden_size=32, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=32, decoder_ffn_dim=32, speech_decoder_prenet_units=16,
        speech_decoder_postnet_units=16, speaker_embedding_dim=512,
    )  # fmt: skip
    return save(folder, transformers.SpeechT5ForTextToSpeech(config), byte_tokenizer())


def make_vits(folder: Path) -> Path:
    """A speech synthesiser that returns sound."""
    config = transformers.VitsConfig(
        vocab_size=40, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16,
        flow_size=16, spectrogram_bins=8, duration_predictor_num_flows=1, prior_encoder_num_flows=1,
        posterior_encoder_num_wavenet_layers=1, prior_encoder_num_wavenet_layers=1,
        duration_predictor_filter_channels=16, upsample_initial_channel=16, upsample_rates=[8, 8],
        upsample_kernel_sizes=[16, 16], resblock_kernel_sizes=[3], resblock_dilation_sizes=[[1, 3, 5]],
        depth_separable_num_layers=1, sampling_rate=16_000,
    )  # fmt: skip
    folder.mkdir(parents=True, exist_ok=True)
    letters = ["_", *"abcdefghijklmnopqrstuvwxyz", ".", " ", "<unk>"]
    (folder / "vocab.json").write_text(json.dumps({letter: n for n, letter in enumerate(letters)}))
    tokenizer = transformers.VitsTokenizer(
        str(folder / "vocab.json"), phonemize=False, normalize=True, is_uroman=False
    )
    return save(folder, transformers.VitsModel(config), tokenizer)


def make_owlvit(folder: Path) -> Path:
    """A model that finds what a text names."""
    config = transformers.OwlViTConfig(
        text_config={"vocab_size": 259, "max_position_embeddings": 16, **_SIZES},
        vision_config=_VISION,
        projection_dim=32,
    )
    processor = transformers.OwlViTProcessor(
        transformers.OwlViTImageProcessorPil(size=_SIDE, crop_size=_SIDE),
        byte_tokenizer_of(16),
    )
    return save(folder, transformers.OwlViTForObjectDetection(config), processor)


def byte_tokenizer_of(length: int) -> Any:
    """The byte tokenizer, for texts of at most ``length`` tokens."""
    tokenizer = byte_tokenizer()
    tokenizer.model_max_length = length
    return tokenizer


def _blip_config() -> Any:
    return transformers.BlipConfig(
        text_config={
            "vocab_size": 128, "max_position_embeddings": 512, "encoder_hidden_size": 32, "bos_token_id": 2,
            "eos_token_id": 3, "sep_token_id": 3, "pad_token_id": 0, "projection_dim": 16, **_SIZES,
        },
        vision_config=_VISION,
        projection_dim=16,
        image_text_hidden_size=16,
    )  # fmt: skip


def _blip(name: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        processor = transformers.BlipProcessor(
            transformers.BlipImageProcessorPil(size=_SIDE), word_tokenizer(model_max_length=64)
        )
        return save(folder, getattr(transformers, name)(_blip_config()), processor)

    return make


_QWEN_TOKENS = (
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
_TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }} "
    "{% for part in message.content %}"
    "{% if part.type == 'image' %}<|vision_start|><|image_pad|><|vision_end|>"
    "{% else %}{{ part.text }}{% endif %}"
    "{% endfor %}<|im_end|> {% endfor %}{% if add_generation_prompt %}<|im_start|>assistant {% endif %}"
)


def make_qwen2_vl(folder: Path) -> Path:
    """A model that talks about images; its processor has a part for videos."""
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_object=word_tokenizer(*_QWEN_TOKENS).backend_tokenizer, pad_token="[PAD]", eos_token="[SEP]"
    )
    token = tokenizer.convert_tokens_to_ids
    config = transformers.Qwen2VLConfig(
        text_config={
            "vocab_size": 128, "num_key_value_heads": 2,
            "bos_token_id": 2, "eos_token_id": 3, "pad_token_id": 0,
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 10_000.0},
            **_SIZES,
        },
        vision_config={
            "depth": 1, "embed_dim": 32, "hidden_size": 32, "num_heads": 2, "mlp_ratio": 2, "patch_size": 8,
            "spatial_merge_size": 2, "temporal_patch_size": 2, "in_channels": 3,
        },
        image_token_id=token("<|image_pad|>"),
        video_token_id=token("<|video_pad|>"),
        vision_start_token_id=token("<|vision_start|>"),
        vision_end_token_id=token("<|vision_end|>"),
    )  # fmt: skip
    images = transformers.Qwen2VLImageProcessorPil(
        patch_size=8, merge_size=2, temporal_patch_size=2, size={"shortest_edge": 256, "longest_edge": 1024}
    )
    save(folder, transformers.Qwen2VLForConditionalGeneration(config), images, tokenizer)
    # What a published folder has: transformers itself cannot write the whole processor without torchvision.
    (folder / "chat_template.jinja").write_text(_TEMPLATE)
    settings = json.loads((folder / "preprocessor_config.json").read_text())
    settings["processor_class"] = "Qwen2VLProcessor"
    (folder / "preprocessor_config.json").write_text(json.dumps(settings))
    return folder


def make_llava(folder: Path) -> Path:
    """A model that talks about images and knows no chats."""
    tokenizer = word_tokenizer("<image>")
    config = transformers.LlavaConfig(
        text_config={"model_type": "llama", "vocab_size": 128, "num_key_value_heads": 2, **_SIZES},
        vision_config={"model_type": "clip_vision_model", **_VISION, "num_hidden_layers": 2},
        vision_feature_layer=-2,
        image_token_index=tokenizer.convert_tokens_to_ids("<image>"),
    )
    processor = transformers.LlavaProcessor(
        transformers.CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIDE),
        tokenizer,
        patch_size=8,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
    )
    return save(folder, transformers.LlavaForConditionalGeneration(config), processor)


def make_vilt(folder: Path) -> Path:
    """A model that answers questions about images with one of its labels."""
    config = transformers.ViltConfig(
        vocab_size=128, max_position_embeddings=40, **_VISION, **_labels("red", "green", "blue")
    )
    processor = transformers.ViltProcessor(
        transformers.ViltImageProcessorPil(size={"shortest_edge": 32}, size_divisor=8),
        word_tokenizer(model_max_length=40),
    )
    return save(folder, transformers.ViltForQuestionAnswering(config), processor)


def make_layoutlm(folder: Path) -> Path:
    """A model that answers questions about the words of a document and their places."""
    config = transformers.LayoutLMConfig(vocab_size=128, max_position_embeddings=128, **_SIZES)
    model = transformers.LayoutLMForQuestionAnswering(config)
    return save(folder, model, word_tokenizer(model_max_length=128))


def make_layoutlmv3(folder: Path) -> Path:
    """The same with the image, whose words its processor would read with Tesseract."""
    config = transformers.LayoutLMv3Config(
        vocab_size=300, max_position_embeddings=130, input_size=32, patch_size=8,
        coordinate_size=4, shape_size=8, **_SIZES,
    )  # fmt: skip
    words = ["<s>", "<pad>", "</s>", "<unk>", "<mask>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    tokenizer = transformers.LayoutLMv3Tokenizer(
        vocab={word: number for number, word in enumerate(words)}, merges=[]
    )
    images = transformers.LayoutLMv3ImageProcessorPil(size=_SIDE, apply_ocr=True)
    processor = transformers.LayoutLMv3Processor(images, tokenizer)
    return save(folder, transformers.LayoutLMv3ForQuestionAnswering(config), processor)


def make_vit_gpt2(folder: Path) -> Path:
    """A model that describes images, with an image processor and a tokenizer but no class for both."""
    config = transformers.VisionEncoderDecoderConfig.from_encoder_decoder_configs(
        transformers.ViTConfig(**_VISION),
        transformers.GPT2Config(
            vocab_size=259, n_embd=32, n_layer=1, n_head=2, n_positions=64, add_cross_attention=True,
            is_decoder=True, bos_token_id=256, eos_token_id=257,
        ),
    )  # fmt: skip
    config.decoder_start_token_id, config.pad_token_id = 256, 258
    model = transformers.VisionEncoderDecoderModel(config)
    model.generation_config.decoder_start_token_id = 256
    model.generation_config.pad_token_id = 258
    images = transformers.ViTImageProcessorPil(size=_SIDE)
    return save(folder, model, images, byte_tokenizer())


def make_pix2struct(folder: Path) -> Path:
    """A model that describes images, which it takes in patches."""
    text = {"d_kv": 16, "d_ff": 32, "num_layers": 1, "num_heads": 2, "decoder_start_token_id": 256}
    vision = {"d_kv": 16, "d_ff": 32, "patch_embed_hidden_size": 192, "patch_size": 8, "seq_len": 64}
    config = transformers.Pix2StructConfig(
        text_config={"vocab_size": 259, "hidden_size": 32, **text}, vision_config={**_SIZES, **vision}
    )
    images = transformers.Pix2StructImageProcessorPil(patch_size={"height": 8, "width": 8}, max_patches=64)
    model = transformers.Pix2StructForConditionalGeneration(config)
    return save(folder, model, transformers.Pix2StructProcessor(images, byte_tokenizer()))


def make_videomae(folder: Path) -> Path:
    """A model that classifies videos, which modelhub loads but does not take."""
    config = transformers.VideoMAEConfig(
        num_frames=4, tubelet_size=2, decoder_num_hidden_layers=1, decoder_hidden_size=16,
        decoder_num_attention_heads=2, decoder_intermediate_size=16, **_VISION,
    )  # fmt: skip
    images = transformers.VideoMAEImageProcessorPil(size={"shortest_edge": 32}, crop_size=_SIDE)
    return save(folder, transformers.VideoMAEForVideoClassification(config), images)


def make_sam(folder: Path) -> Path:
    """A model that finds the outlines of everything."""
    config = transformers.SamConfig(
        vision_config={
            "hidden_size": 32, "output_channels": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "image_size": 64, "patch_size": 16, "window_size": 2, "global_attn_indexes": [0], "mlp_dim": 32,
            "num_pos_feats": 8,
        },
        prompt_encoder_config={
            "hidden_size": 16, "image_size": 64, "patch_size": 16, "mask_input_channels": 4,
        },
        mask_decoder_config={
            "hidden_size": 16, "mlp_dim": 32, "num_hidden_layers": 1, "num_attention_heads": 2,
            "iou_head_hidden_dim": 16,
        },
    )  # fmt: skip
    images = transformers.SamImageProcessorPil(
        size={"longest_edge": 64}, pad_size={"height": 64, "width": 64}, mask_pad_size=_SIDE
    )
    return save(folder, transformers.SamModel(config), transformers.SamProcessor(images))


def make_superglue(folder: Path) -> Path:
    """A model that finds the same points in two images."""
    config = transformers.SuperGlueConfig(
        keypoint_detector_config={
            "model_type": "superpoint", "encoder_hidden_sizes": [8, 8, 16, 16], "decoder_hidden_size": 16,
            "descriptor_decoder_dim": 16, "keypoint_threshold": 0.0, "max_keypoints": 32,
        },
        hidden_size=16,
        keypoint_encoder_sizes=[16, 16],
        gnn_layers_types=["self", "cross"],
        num_attention_heads=2,
    )  # fmt: skip
    images = transformers.SuperGlueImageProcessorPil(size={"height": 64, "width": 64})
    return save(folder, transformers.SuperGlueForKeypointMatching(config), images)


_SEGFORMER = {
    "num_encoder_blocks": 2, "depths": [1, 1], "sr_ratios": [2, 1], "hidden_sizes": [8, 16],
    "patch_sizes": [7, 3], "strides": [4, 2], "num_attention_heads": [1, 2], "mlp_ratios": [2, 2],
    "decoder_hidden_size": 16,
}  # fmt: skip

TASK_MODELS: dict[str, dict[str, Callable[[Path], Path]]] = {
    "text-generation": {"llama": models.make_llama},
    "text2text-generation": {"t5": models.make_t5},
    "fill-mask": {"bert-mask": _bert("ForMaskedLM")},
    "text-classification": {
        "bert-classes": _bert("ForSequenceClassification", **_labels("bad", "good")),
    },
    "zero-shot-classification": {
        "bert-nli": _bert(
            "ForSequenceClassification", **_labels("contradiction", "neutral", "entailment")
        )
    },
    "token-classification": {"bert-tokens": _bert("ForTokenClassification", **_labels("O", "B-PER"))},
    "question-answering": {"bert-answers": _bert("ForQuestionAnswering")},
    "feature-extraction": {"bert-base": _bert("Model")},
    "text-to-audio": {"speecht5": make_speecht5, "vits": make_vits},
    "automatic-speech-recognition": {"whisper-asr": make_whisper, "wav2vec2": models.make_wav2vec2},
    "audio-classification": {"wav2vec2-classes": make_audio_classifier},
    "zero-shot-audio-classification": {"clap": make_clap},
    "image-classification": {"vit": models.make_vit},
    "image-feature-extraction": {
        "vit-base": _image_model("ViTModel", "ViTImageProcessorPil", "ViTConfig", _SIDE, **_VISION)
    },
    "image-segmentation": {
        "segformer": _image_model(
            "SegformerForSemanticSegmentation", "SegformerImageProcessorPil", "SegformerConfig", _SIDE,
            **_SEGFORMER, **_labels("sky", "sea"),
        )
    },
    "mask-generation": {"sam": make_sam},
    "object-detection": {
        "yolos": _image_model(
            "YolosForObjectDetection", "YolosImageProcessorPil", "YolosConfig",
            {"shortest_edge": 32, "longest_edge": 32}, **_SIZES, image_size=[32, 32], patch_size=8,
            num_detection_tokens=4, **_labels("cat", "dog"),
        )
    },
    "depth-estimation": {
        "glpn": _image_model("GLPNForDepthEstimation", "GLPNImageProcessorPil", "GLPNConfig", **{
            "num_encoder_blocks": 4, "depths": [1] * 4, "sr_ratios": [2, 2, 1, 1], "hidden_sizes": [8] * 4,
            "num_attention_heads": [1] * 4, "mlp_ratios": [2] * 4, "decoder_hidden_size": 8,
        })
    },
    "keypoint-matching": {"superglue": make_superglue},
    "zero-shot-image-classification": {"clip": models.make_clip},
    "zero-shot-object-detection": {"owlvit": make_owlvit},
    "image-text-to-text": {
        "blip": _blip("BlipForConditionalGeneration"), "qwen2-vl": make_qwen2_vl, "llava": make_llava,
        "vit-gpt2": make_vit_gpt2, "pix2struct": make_pix2struct,
    },
    "visual-question-answering": {"vilt": make_vilt, "blip-answers": _blip("BlipForQuestionAnswering")},
    "document-question-answering": {"layoutlm": make_layoutlm, "layoutlmv3": make_layoutlmv3},
}  # fmt: skip
