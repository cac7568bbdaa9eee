"""Tokenizers of bytes with the marks and the chat templates of well-known families, shortened."""

from __future__ import annotations

from typing import Any

from tests.support.models import byte_tokenizer

# Tools, reasoning that is opened or closed by the template, and results of tools in the turn of the user.
QWEN = """\
{%- if tools %}{{- '<|im_start|>system\\n' }}
{%- if messages[0].role == 'system' %}{{- messages[0].content + '\\n\\n' }}{%- endif %}
{{- '# Tools\\n<tools>' }}{%- for tool in tools %}{{- '\\n' }}{{- tool | tojson }}{%- endfor %}
{{- '\\n</tools>\\n<tool_call>\\n{\\"name\\": ..., \\"arguments\\": ...}\\n</tool_call><|im_end|>\\n' }}
{%- elif messages[0].role == 'system' %}
{{- '<|im_start|>system\\n' + messages[0].content + '<|im_end|>\\n' }}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'user' or (message.role == 'system' and not loop.first) %}
{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}
{%- elif message.role == 'assistant' %}{{- '<|im_start|>assistant\\n' }}
{%- if message.reasoning_content %}
{{- '<think>\\n' + message.reasoning_content + '\\n</think>\\n\\n' }}{%- endif %}
{{- message.content }}
{%- if message.tool_calls %}{%- for call in message.tool_calls %}
{%- if call.function %}{%- set call = call.function %}{%- endif %}
{{- '\\n<tool_call>\\n{\\"name\\": \\"' + call.name + '\\", \\"arguments\\": ' }}
{{- call.arguments | tojson }}{{- '}\\n</tool_call>' }}{%- endfor %}{%- endif %}{{- '<|im_end|>\\n' }}
{%- elif message.role == 'tool' %}
{{- '<|im_start|>user\\n<tool_response>\\n' + message.content + '\\n</tool_response><|im_end|>\\n' }}
{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}
{%- if enable_thinking is defined and enable_thinking is false %}{{- '<think>\\n\\n</think>\\n\\n' }}
{%- elif opens_thinking is defined %}{{- '<think>\\n' }}{%- endif %}{%- endif %}"""

LLAMA = """\
{{- bos_token }}{%- if messages[0]['role'] == 'system' %}
{%- set system_message = messages[0]['content'] | trim %}{%- set messages = messages[1:] %}
{%- else %}{%- set system_message = '' %}{%- endif %}
{{- '<|start_header_id|>system<|end_header_id|>\\n\\n' + system_message + '<|eot_id|>' }}
{%- if tools is not none %}{{- 'Respond with JSON for a function call.\\n' }}
{%- for t in tools %}{{- t | tojson(indent=4) }}{%- endfor %}{%- endif %}
{%- for message in messages %}
{%- if message.role == 'tool' %}
{{- '<|start_header_id|>ipython<|end_header_id|>\\n\\n' + message.content | tojson + '<|eot_id|>' }}
{%- elif 'tool_calls' in message %}{%- set call = message.tool_calls[0].function %}
{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n{\\"name\\": \\"' + call.name + '\\", ' }}
{{- '\\"parameters\\": ' }}{{- call.arguments | tojson }}{{- '}<|eot_id|>' }}
{%- else %}
{{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n' }}
{{- message['content'] | trim + '<|eot_id|>' }}{%- endif %}{%- endfor %}
{%- if add_generation_prompt %}{{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}{%- endif %}"""

GEMMA = """\
{{ bos_token }}{% if messages[0]['role'] == 'system' %}
{{- raise_exception('System role not supported') }}{% endif %}
{%- for message in messages %}
{%- if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}
{{- raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{%- endif %}
{%- set role = 'model' if message['role'] == 'assistant' else message['role'] %}
{{- '<start_of_turn>' + role + '\\n' + message['content'] | trim + '<end_of_turn>\\n' }}{%- endfor %}
{%- if add_generation_prompt %}{{- '<start_of_turn>model\\n' }}{%- endif %}"""

MISTRAL = """\
{{ bos_token }}{% for message in messages %}
{%- if message['role'] == 'user' %}
{%- if loop.last and tools %}{{- '[AVAILABLE_TOOLS]' + tools | tojson + '[/AVAILABLE_TOOLS]' }}{%- endif %}
{{- '[INST]' + message['content'] + '[/INST]' }}
{%- elif message.tool_calls is defined %}{{- '[TOOL_CALLS][' }}{%- for call in message.tool_calls %}
{%- if call.id is not defined or call.id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}
{{- (call.function | tojson)[:-1] + ', \\"id\\": \\"' + call.id + '\\"}' }}{%- endfor %}{{- ']' + eos_token }}
{%- elif message['role'] == 'tool' %}
{%- if message.tool_call_id is not defined or message.tool_call_id | length != 9 %}
{{- raise_exception('Tool call IDs should be alphanumeric strings with length 9!') }}{%- endif %}
{{- '[TOOL_RESULTS]{\\"content\\": ' + message.content + ', \\"call_id\\": \\"' + message.tool_call_id }}
{{- '\\"}[/TOOL_RESULTS]' }}
{%- else %}{{- message['content'] + eos_token }}{%- endif %}{%- endfor %}"""

DEEPSEEK = """\
{{ bos_token }}{%- for message in messages %}
{%- if message.role == 'assistant' and 'tool_calls' in message %}{%- for tool in message['tool_calls'] %}
{{- tool['function']['name'] + '\\n' + tool['function']['arguments'] }}{%- endfor %}
{%- else %}{{- '<' + message.role + '>' + message['content'] }}{%- endif %}{%- endfor %}
{%- if tools %}{%- endif %}{%- if add_generation_prompt %}{{- '<assistant><think>\\n' }}{%- endif %}"""

_SPECIAL = {
    "qwen": ("<|im_start|>", "<|im_end|>"),
    "llama": ("<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"),
    "gemma": ("<start_of_turn>", "<end_of_turn>"),
    "mistral": (
        *("[INST]", "[/INST]", "[TOOL_CALLS]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"),
        *("[/TOOL_RESULTS]", "[ARGS]"),
    ),
    "deepseek": (),
}
_PLAIN = {"qwen": ("<think>", "</think>", "<tool_call>", "</tool_call>")}
_TEMPLATES = {"qwen": QWEN, "llama": LLAMA, "gemma": GEMMA, "mistral": MISTRAL, "deepseek": DEEPSEEK}

WEATHER: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
            "required": ["city"],
        },
    },
}


def family_tokenizer(family: str) -> Any:
    """The byte tokenizer with the marks and the chat template of a family."""
    tokenizer = byte_tokenizer()
    if _SPECIAL[family]:
        tokenizer.add_special_tokens({"additional_special_tokens": list(_SPECIAL[family])})
    tokenizer.add_tokens(list(_PLAIN.get(family, ())))
    tokenizer.chat_template = _TEMPLATES[family]
    return tokenizer
