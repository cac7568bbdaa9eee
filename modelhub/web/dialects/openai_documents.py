"""What the OpenAPI document says of OpenAI's API."""

from __future__ import annotations

from modelhub.web.dialects.documents import (
    ERRORS,
    FLAG,
    KEEP,
    MODEL,
    TEXT,
    JsonSchema,
    body,
    listed,
    number,
    operation,
    thing,
    whole,
)

_MOST = 2**31 - 1
_PART: JsonSchema = {
    "anyOf": [
        thing(("type", "text"), type={"enum": ["text"]}, text=TEXT),
        thing(
            ("type", "image_url"),
            type={"enum": ["image_url"]},
            image_url=thing(("url",), url={**TEXT, "description": "A data: URI."}),
        ),
        thing(
            ("type", "input_audio"),
            type={"enum": ["input_audio"]},
            input_audio=thing(("data", "format"), data=TEXT, format=TEXT),
        ),
    ]
}
_MESSAGE: JsonSchema = thing(
    ("role",),
    role={"enum": ["system", "developer", "user", "assistant", "tool"]},
    content={"anyOf": [TEXT, listed(_PART), {"type": "null"}]},
)
_TOOL = thing(("type", "function"), type={"enum": ["function"]}, function=thing(("name",), name=TEXT))
_SAMPLING: dict[str, JsonSchema] = {
    "temperature": number(0, 100),
    "top_p": number(0, 1),
    "top_k": whole(-1, _MOST),
    "min_p": number(0, 1),
    "repetition_penalty": number(0.01, 100),
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "seed": whole(-(2**53), 2**53),
    "stop": {"anyOf": [{**TEXT, "maxLength": 1000}, listed({**TEXT, "maxLength": 1000}, high=16)]},
}
_STREAM: dict[str, JsonSchema] = {
    "stream": FLAG,
    "stream_options": thing((), include_usage=FLAG),
}
_CHAT = thing(
    ("model", "messages"),
    model=MODEL,
    messages=listed(_MESSAGE, 1),
    max_completion_tokens=whole(1, _MOST),
    max_tokens=whole(1, _MOST),
    tools=listed(_TOOL, high=128),
    tool_choice={"enum": ["auto", "none"]},
    logprobs=FLAG,
    chat_template_kwargs={"type": "object"},
    **_SAMPLING,
    **_STREAM,
    **KEEP,
)
_COMPLETION = thing(
    ("model", "prompt"),
    model=MODEL,
    prompt={"anyOf": [TEXT, listed(TEXT, 1, 1), listed(whole(0, _MOST), 1)]},
    max_tokens=whole(1, _MOST),
    logprobs=whole(0, 20),
    **_SAMPLING,
    **_STREAM,
    **KEEP,
)
_RESPONSE = thing(
    ("model", "input"),
    model=MODEL,
    input={**TEXT, "description": "A text, or the items of a conversation."},
    instructions=TEXT,
    stream=FLAG,
    max_output_tokens=whole(1, _MOST),
    temperature=number(0, 100),
    top_p=number(0, 1),
    **KEEP,
)
_EMBEDDINGS = thing(
    ("model", "input"),
    model=MODEL,
    input={"anyOf": [TEXT, listed(TEXT, 1, 2048)]},
    encoding_format={"enum": ["float", "base64"]},
    dimensions=whole(1, _MOST),
    **KEEP,
)
_TRANSCRIPTION = thing(
    ("file", "model"),
    file={"type": "string", "format": "binary", "description": "WAV, FLAC, MP3 or OGG."},
    model=MODEL,
    response_format={"enum": ["json", "text", "verbose_json"]},
    language=TEXT,
)
SCHEMAS: dict[str, JsonSchema] = {
    **ERRORS,
    "OpenAIChat": _CHAT,
    "OpenAICompletion": _COMPLETION,
    "OpenAIResponse": _RESPONSE,
    "OpenAIEmbeddings": _EMBEDDINGS,
    "OpenAITranscription": _TRANSCRIPTION,
}
_ID = {"in": "path", "name": "model_id", "required": True, "schema": MODEL}
OPERATIONS: dict[str, tuple[str, JsonSchema]] = {
    "openai.list_models": ("get", operation("The models that can be used.", "openai")),
    "openai.get_model": ("get", operation("One model.", "openai", parameters=[_ID])),
    "openai.create_chat_completion": (
        "post",
        operation(
            "Go on with a chat; loads the model where it is not in memory.",
            "openai",
            request=body("OpenAIChat"),
            streams=True,
        ),
    ),
    "openai.create_completion": (
        "post",
        operation(
            "Go on with a text; loads the model where it is not in memory.",
            "openai",
            request=body("OpenAICompletion"),
            streams=True,
        ),
    ),
}
MORE_OPERATIONS: dict[str, tuple[str, JsonSchema]] = {
    "openai_more.create_response": (
        "post",
        operation(
            "Go on with a conversation; loads the model where it is not in memory.",
            "openai",
            request=body("OpenAIResponse"),
            streams=True,
        ),
    ),
    "openai_more.create_embeddings": (
        "post",
        operation(
            "Turn texts into numbers; loads the model where it is not in memory.",
            "openai",
            request=body("OpenAIEmbeddings"),
        ),
    ),
    "openai_more.create_transcription": (
        "post",
        operation(
            "Write down what is said; loads the model where it is not in memory.",
            "openai",
            request=body("OpenAITranscription", "multipart/form-data"),
            kinds=("application/json", "text/plain"),
            streams=True,
        ),
    ),
}
