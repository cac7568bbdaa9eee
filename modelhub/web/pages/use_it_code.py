"""The programs of "Use it", by what a model does: @names are filled in by ``use_it``."""

from __future__ import annotations

from string import Template


class Code(Template):
    """A program with ``@model``, ``@address``, ``@key`` and the like in place of literals of its language."""

    delimiter = "@"


PYTHON_CLIENT = Code("""\
@{import_os}
from openai import OpenAI

client = OpenAI(base_url="@address/v1", api_key=@key)
""")
PYTHON = {
    "chat": Code("""\
stream = client.chat.completions.create(
    model=@model,
    messages=[{"role": "user", "content": @question}],
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
"""),
    "completion": Code("""\
stream = client.completions.create(
    model=@model,
    prompt=@beginning,
    max_tokens=40,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].text, end="", flush=True)
"""),
    "embedding": Code("""\
answer = client.embeddings.create(
    model=@model,
    input=[@sentence],
)
print(answer.data[0].embedding)
"""),
    "transcription": Code("""\
with open("@file", "rb") as file:
    answer = client.audio.transcriptions.create(
        model=@model,
        file=file,
    )
print(answer.text)
"""),
}
PLAIN_PYTHON = Code("""\
import json
@{import_os}import urllib.request

body = {
    "model": @model,
    "inputs": @inputs,
}
headers = {"Content-Type": "application/json"@token}
request = urllib.request.Request("@address/api/predictions", json.dumps(body).encode(), headers)
with urllib.request.urlopen(request) as response:
    print(json.load(response)["outputs"])
""")

JAVASCRIPT_CLIENT = Code("""\
import OpenAI from "openai";

const client = new OpenAI({ baseURL: "@address/v1", apiKey: @key });
""")
JAVASCRIPT = {
    "chat": Code("""\
const stream = await client.chat.completions.create({
  model: @model,
  messages: [{ role: "user", content: @question }],
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.delta?.content ?? "");
}
"""),
    "completion": Code("""\
const stream = await client.completions.create({
  model: @model,
  prompt: @beginning,
  max_tokens: 40,
  stream: true,
});
for await (const chunk of stream) {
  process.stdout.write(chunk.choices[0]?.text ?? "");
}
"""),
    "embedding": Code("""\
const answer = await client.embeddings.create({
  model: @model,
  input: [@sentence],
});
console.log(answer.data[0].embedding);
"""),
    "transcription": Code("""\
const { createReadStream } = await import("node:fs");
const answer = await client.audio.transcriptions.create({
  model: @model,
  file: createReadStream("@file"),
});
console.log(answer.text);
"""),
}
PLAIN_JAVASCRIPT = Code("""\
const response = await fetch("@address/api/predictions", {
  method: "POST",
  headers: { "Content-Type": "application/json"@token },
  body: JSON.stringify({
    model: @model,
    inputs: @inputs,
  }),
});
console.log((await response.json()).outputs);
""")

OLLAMA_CLIENT = Code("""\
@{import_os}
from ollama import Client

client = Client(
    host="@address",@token
)
""")
OLLAMA = {
    "chat": Code("""\
stream = client.chat(
    model=@model,
    messages=[{"role": "user", "content": @question}],
    stream=True,
)
for part in stream:
    print(part.message.content, end="", flush=True)
"""),
    "completion": Code("""\
stream = client.generate(
    model=@model,
    prompt=@beginning,
    options={"num_predict": 40},
    stream=True,
)
for part in stream:
    print(part.response, end="", flush=True)
"""),
    "embedding": Code("""\
answer = client.embed(
    model=@model,
    input=[@sentence],
)
print(answer.embeddings[0])
"""),
}
