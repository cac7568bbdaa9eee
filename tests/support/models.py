"""Tiny real models of several architectures, made in a folder with transformers' own save_pretrained."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, pre_tokenizers, processors
from tokenizers import models as tokenizer_models
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertTokenizer,
    CLIPConfig,
    CLIPImageProcessorPil,
    CLIPModel,
    CLIPProcessor,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
    T5Config,
    T5ForConditionalGeneration,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    Wav2Vec2Config,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    Wav2Vec2ForCTC,
    Wav2Vec2Processor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

SEED = 7
BYTE_TOKENS = {"vocab_size": 259, "bos_token_id": 256, "eos_token_id": 257, "pad_token_id": 258}
_WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "hello", "world", "a", "small", "model", "##s", "."]
_LETTERS = ["<pad>", "<s>", "</s>", "<unk>", "|", *"ETAONIHSRDLUMWCFGYPBVK'XJQZ"]


def byte_tokenizer() -> Any:
    """One token per byte, and three special ones."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(tokenizer_models.BPE({letter: i for i, letter in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<s>", "</s>", "<pad>"])
    tokenizer.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A $B", [("<s>", 256)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>"
    )


def save(folder: Path, model: Any, *processors: Any, shards: int = 1) -> Path:
    """Write the model in about ``shards`` files, and its processors."""
    torch.manual_seed(SEED)
    model.init_weights()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(0, 0.05)
    size = sum(parameter.nbytes for parameter in model.parameters())
    model.eval().save_pretrained(folder, max_shard_size=size // shards + 1 if shards > 1 else "50GB")
    for processor in processors:
        processor.save_pretrained(folder)
    return folder


def make_llama(folder: Path, shards: int = 1, dtype: torch.dtype = torch.bfloat16) -> Path:
    """A causal language model with a byte tokenizer, in bfloat16."""
    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        **BYTE_TOKENS,
    )
    return save(folder, LlamaForCausalLM(config).to(dtype), byte_tokenizer(), shards=shards)


def make_sparse_llama(folder: Path, vocabulary: int) -> Path:
    """A Llama whose weights are in a sparse file: they have a size, and take no space on the disk.

    The weights have about 256 bytes for each word of the vocabulary.
    """
    make_llama(folder)
    settings = json.loads((folder / "config.json").read_text()) | {"vocab_size": vocabulary}
    (folder / "config.json").write_text(json.dumps(settings))
    with torch.device("meta"):
        model = LlamaForCausalLM(LlamaConfig(**settings))
    header: dict[str, Any] = {}
    end = 0
    for name, tensor in model.state_dict().items():
        begin, end = end, end + 2 * tensor.numel()
        header[name] = {"dtype": "BF16", "shape": list(tensor.shape), "data_offsets": [begin, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the tensors are aligned, as safetensors does it
    with (folder / "model.safetensors").open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + end)
    return folder


def make_bert(folder: Path, shards: int = 1) -> Path:
    """An encoder that fills masks, with a WordPiece tokenizer."""
    config = BertConfig(
        vocab_size=len(_WORDS),
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
    )
    vocabulary = {word: number for number, word in enumerate(_WORDS)}
    return save(folder, BertForMaskedLM(config), BertTokenizer(vocab=vocabulary), shards=shards)


def make_vit(folder: Path, shards: int = 1) -> Path:
    """An image classifier of three labels for 32 by 32 pixels."""
    config = ViTConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        patch_size=8,
        id2label={0: "red", 1: "green", 2: "blue"},
        label2id={"red": 0, "green": 1, "blue": 2},
    )
    images = ViTImageProcessorPil(size={"height": 32, "width": 32})
    return save(folder, ViTForImageClassification(config), images, shards=shards)


def make_wav2vec2(folder: Path, shards: int = 1) -> Path:
    """A speech recogniser (CTC) over letters."""
    config = Wav2Vec2Config(
        vocab_size=len(_LETTERS),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        conv_dim=(16, 16, 16),
        conv_kernel=(10, 8, 4),
        conv_stride=(8, 8, 4),
        num_feat_extract_layers=3,
        num_conv_pos_embeddings=16,
        num_conv_pos_embedding_groups=2,
    )
    folder.mkdir(parents=True, exist_ok=True)
    letters = {letter: number for number, letter in enumerate(_LETTERS)}
    (folder / "vocab.json").write_text(json.dumps(letters))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    processor = Wav2Vec2Processor(feature_extractor=Wav2Vec2FeatureExtractor(), tokenizer=tokenizer)
    return save(folder, Wav2Vec2ForCTC(config), processor, shards=shards)


def make_whisper(folder: Path, shards: int = 1) -> Path:
    """A speech recogniser of the encoder-decoder kind; with a feature extractor only."""
    config = WhisperConfig(
        vocab_size=259,
        d_model=32,
        encoder_layers=1,
        decoder_layers=1,
        encoder_attention_heads=2,
        decoder_attention_heads=2,
        encoder_ffn_dim=64,
        decoder_ffn_dim=64,
        max_source_positions=1500,
        max_target_positions=64,
        bos_token_id=256,
        eos_token_id=257,
        pad_token_id=258,
        decoder_start_token_id=256,
        suppress_tokens=None,
        begin_suppress_tokens=None,
    )
    return save(folder, WhisperForConditionalGeneration(config), WhisperFeatureExtractor(), shards=shards)


def make_t5(folder: Path, shards: int = 1) -> Path:
    """A text encoder-decoder."""
    config = T5Config(
        vocab_size=259,
        d_model=32,
        d_kv=16,
        d_ff=64,
        num_layers=2,
        num_heads=2,
        decoder_start_token_id=258,
        eos_token_id=257,
        pad_token_id=258,
    )
    return save(folder, T5ForConditionalGeneration(config), byte_tokenizer(), shards=shards)


def make_clip(folder: Path, shards: int = 1) -> Path:
    """A model that compares images with texts."""
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": 259, "max_position_embeddings": 64, "eos_token_id": 257, "bos_token_id": 256}
    vision = {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=text | size, vision_config=vision | size, projection_dim=16)
    images = CLIPImageProcessorPil(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    processor = CLIPProcessor(image_processor=images, tokenizer=byte_tokenizer())
    return save(folder, CLIPModel(config), processor, shards=shards)


FOUR: dict[str, Callable[..., Path]] = {
    "tiny/llama": make_llama,
    "tiny/bert": make_bert,
    "tiny/vit": make_vit,
    "tiny/wav2vec2": make_wav2vec2,
}
MORE: dict[str, Callable[..., Path]] = {
    "tiny/whisper": make_whisper,
    "tiny/t5": make_t5,
    "tiny/clip": make_clip,
}
