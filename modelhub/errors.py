"""Every failure that a user can meet: its stable code, HTTP status, message and what to do about it."""

from __future__ import annotations

import json
from typing import NamedTuple

from modelhub import units
from modelhub.payloads import ErrorPayload


class Failure(NamedTuple):
    """One row of the table of failures; ``message`` and ``hint`` are str.format templates over the facts."""

    status: int
    message: str
    hint: str


FAILURES: dict[str, Failure] = {
    # The request
    "invalid_id": Failure(
        422,
        "“{id}” is not a model id.",
        "{todo}",
    ),
    "invalid_request": Failure(422, "The request is not valid: {why}", "Correct it and send it again."),
    "some_refused": Failure(422, "Some of the models were refused.", "The others were accepted."),
    "form_expired": Failure(
        400, "The page that sent this form is out of date.", "Reload the page and press the button again."
    ),
    "unknown_model": Failure(
        404,
        "No model {id} was found {where}.",
        "Check the spelling of the id. {todo}",
    ),
    "unknown_load": Failure(404, "Load {id} not found.", "The history lists every load: /history."),
    "unauthorized": Failure(
        401,
        "This server asks for a token, and no right one was sent.",
        "Log in at /login. Programs send it as 'Authorization: Bearer TOKEN', Socket.IO clients as "
        "{{token: TOKEN}} in auth, the command line as MODELHUB_TOKEN.",
    ),
    "forbidden": Failure(
        403,
        "With the view token, one can watch and change nothing.",
        "Log in with the other token to load, unload, delete and predict.",
    ),
    "too_many_requests": Failure(
        429, "Too many wrong tokens came from this address.", "Try again in a minute."
    ),
    "unknown_host": Failure(
        400,
        "This server does not serve that host name.",
        "Open it by an address of its machine, or add the name to MODELHUB_HOSTS.",
    ),
    "cross_site": Failure(
        403,
        "A page of another site has sent this request.",
        "Open the server's own page. Where a proxy serves it over https, set MODELHUB_PROXIES.",
    ),
    "not_found": Failure(404, "Address not found.", "See /docs for the addresses."),
    "method_not_allowed": Failure(
        405, "This address does not support that method.", "See /docs for its methods."
    ),
    "wrong_state": Failure(409, "{id} is {state}: {why}", "{todo}"),
    "too_large": Failure(413, "The request is too large.", "Send at most {limit}."),
    "in_use": Failure(409, "{id} {why}.", "Unload it only if that is what you want."),
    "quarantined": Failure(
        409,
        "{id} is quarantined, since it failed again and again. The last time: {why}",
        "See to the cause. A person can load it again: on its page, with modelhub preload, or with "
        '"retry": true.',
    ),
    "queue_full": Failure(
        503, "{waiting} loads are waiting already.", "Try again later, or cancel a load that waits."
    ),
    "shutting_down": Failure(
        503, "The server is shutting down.", "Load the model again once the server is back."
    ),
    "own_folder": Failure(
        409,
        "{id} is in your own models folder.",
        "Delete it there yourself, or confirm that modelhub may: with ?own=yes.",
    ),
    "no_files": Failure(404, "{id} has no files on this machine.", "There is nothing to delete."),
    "cannot_delete": Failure(
        409, "The files of {id} cannot be deleted: {why}", "See to that, or delete them yourself."
    ),
    "internal": Failure(500, "Internal error.", "See the server's log for details, and please report it."),
    # The model's files
    "no_config": Failure(
        404,
        "{id} has no config.json, so it is not a model that transformers can load.",
        "Check the id. In a folder of your own, put the model's config.json beside its weights.",
    ),
    "bad_config": Failure(
        422,
        "The configuration of {id} cannot be used: {why}",
        "Download the model's files again, or choose another model.",
    ),
    "missing_weights": Failure(
        422,
        "{id} has no weights that can be loaded: {why}",
        "modelhub reads safetensors files only. Look for a revision of the model that has them, or have "
        "save_pretrained() of transformers write them.",
    ),
    "missing_shard": Failure(422, "{file}, one of the weight files of {id}, is missing.", "{todo}"),
    "lfs_pointer": Failure(
        422,
        "{file} of {id} is a Git LFS pointer: the file itself was not fetched.",
        "Run 'git lfs pull' in the model's folder, or delete the folder: then modelhub fetches the model.",
    ),
    "adapter": Failure(
        422,
        "{id} is an adapter (LoRA), not a whole model.",
        "{todo}; or merge the two with peft's merge_and_unload(), save the result and load that.",
    ),
    "gguf": Failure(
        422,
        "{id} has GGUF weights, which modelhub cannot load.",
        "Load the model that they were made from: the one with safetensors files. llama.cpp runs GGUF files.",
    ),
    "diffusers": Failure(
        422,
        "{id} is a pipeline of diffusers, not a model of transformers.",
        "Use it with the diffusers library.",
    ),
    "bad_name": Failure(
        422,
        "“{id}” in the models folder cannot be loaded: no model id may be like that.",
        "Rename it: letters, digits, '.', '_' and '-' only, such as {example}.",
    ),
    "corrupt": Failure(
        422,
        "A file of {id} is damaged: {file}: {why}",
        "Delete the model's files on this machine and load it again: they are then fetched again.",
    ),
    "corrupt_own": Failure(
        422,
        "A file of {id} in your models folder is damaged: {file}: {why}",
        "Replace the file with a good copy: modelhub fetches nothing into this folder.",
    ),
    "refused": Failure(
        422,
        "A file of {id} was refused before it was opened: {file}: {why}",
        "Do not use this model unless you know why its files look like this.",
    ),
    "too_costly": Failure(
        422,
        "{id} costs more than it may: {step} {bound}.",
        "Its files ask for far more than models do: do not use it unless you know why. {todo}",
    ),
    "files_gone": Failure(
        422,
        "{file} of {id} was deleted or moved while the model was being loaded.",
        "Put it back, or load the model again: what comes from the hub is then fetched again.",
    ),
    "no_permission": Failure(
        422,
        "{file} of {id} cannot be opened: the system denies that to the user of this server.",
        "Give that user the right to read the model's folder and its files, such as with chmod or chown.",
    ),
    "unsupported": Failure(
        422,
        "{id} needs an architecture that this version of transformers does not have: {architecture}",
        "Update transformers, or choose another model. Code from a model's own repository is never run.",
    ),
    "needs_package": Failure(
        422,
        "{id} needs a Python package that is not installed: {package}",
        "{todo}",
    ),
    "bad_tokenizer": Failure(
        422, "The tokenizer or processor of {id} cannot be loaded: {why}", "Download the model's files again."
    ),
    "incomplete_weights": Failure(
        422,
        "The files of {id} lack {count} of the model's tensors, such as {names}.",
        "The download is incomplete, or config.json names another architecture than that of the weights.",
    ),
    "forward_failed": Failure(
        500,
        "{id} was loaded, but its first forward pass failed: {why}",
        "The configuration does not fit the weights, or the device lacks an operation.",
    ),
    # The Hugging Face hub
    "hub_unreachable": Failure(
        503,
        "{id} is not complete on this machine, and the Hugging Face hub cannot be reached.",
        "Check the network, then load it again: what was downloaded is kept.",
    ),
    "gated": Failure(
        403,
        "{id} is gated or private, and this machine's token gives no access to it.",
        "Accept the model's terms on its hub page, run 'hf auth login', then load it again.",
    ),
    "hub_error": Failure(502, "The hub returned an error for {id}: {why}", "Load it again later."),
    "rate_limited": Failure(
        503,
        "The hub has had too many requests from this machine, and refuses those for {id}.",
        "Load it again {when}: what was downloaded is kept. It takes more requests from those that have a "
        "token: run 'hf auth login'.",
    ),
    "cache_read_only": Failure(
        507,
        "{id} cannot be downloaded: the Hugging Face cache cannot be written to ({why}).",
        "Give the user of this server the right to write there, or set HF_HOME to another folder.",
    ),
    "disk_full": Failure(
        507,
        "The disk is full: {id} needs {needed} more, {free} are free.",
        "Free some space, then load it again.",
    ),
    # The machine
    "no_memory": Failure(
        507,
        "{id} needs {needed} of memory, {free} are free.",
        "Unload another model first, choose a smaller one, or load it with force.",
    ),
    "out_of_memory": Failure(
        507,
        "Memory ran out, at a limit of {limit}: the process of {id} had {used}, with all that it shares.",
        "Unload another model, choose a smaller one, or load it with a smaller data type.",
    ),
    "device_out_of_memory": Failure(
        507,
        "The device ran out of memory while {id} was loading.",
        "Unload another model or set MODELHUB_DEVICE=cpu.",
    ),
    "no_sandbox": Failure(
        500,
        "A model's process cannot be confined, though MODELHUB_SANDBOX is strict: no {lacking} ({why}).",
        "Use Linux 5.13 or later with seccomp and Landlock, or set MODELHUB_SANDBOX=auto.",
    ),
    "no_device": Failure(
        422,
        "This machine has no usable device {device}.",
        "Choose auto or cpu.",
    ),
    "killed": Failure(
        500,
        "The process of {id} was killed from outside ({signal}).",
        "A person ended it, or a program that watches over memory, such as systemd-oomd. Load it again.",
    ),
    "crashed": Failure(
        500,
        "The process of {id} ended unexpectedly ({status}).",
        "See the server's log for details. Load it again.",
    ),
    "file_changed": Failure(
        500,
        "A file of {id} was cut, or could not be read, while the model was using it.",
        "Leave a model's files alone while it is loaded. If nobody touched them, check the disk.",
    ),
    "worker_unavailable": Failure(
        503,
        "No process for the model could be started: {why}",
        "Load it again. If that fails too, see the server's log for details, and restart the server.",
    ),
    "no_node": Failure(
        503,
        "No node of the cluster can load {id}: {why}.",
        "Join a machine: run 'modelhub node' there. Then load the model again.",
    ),
    "no_other_node": Failure(
        409,
        "There is no other node for a copy of {id}.",
        "Each copy is on a node of its own: join another machine.",
    ),
    "unknown_replica": Failure(
        404, "{id} has no copy on node {node}.", "The model's snapshot lists its replicas, with their nodes."
    ),
    "unknown_node": Failure(404, "There is no node {name}.", "The nodes are at /api/nodes."),
    "node_lost": Failure(
        503,
        "Node {node} {how}.",
        "The models that it had are gone, those of other nodes are not. Load it again, on another node.",
    ),
    "versions_differ": Failure(
        503,
        "Node {node} is refused: it has {there}, this server {here}.",
        "Install the same versions on both, and start 'modelhub node' there again.",
    ),
    "node_unusable": Failure(
        503,
        "Node {node} cannot load models: {why}",
        "Correct that there, and start 'modelhub node' there again.",
    ),
    "interrupted": Failure(
        503, "The server stopped while {id} was loading.", "Load it again: what was downloaded is kept."
    ),
    "load_failed": Failure(500, "{id} could not be loaded: {why}", "See the server's log for details."),
    # Predictions
    "bad_inputs": Failure(422, "{id} cannot use these inputs: {why}", "{todo}"),
    "prediction_failed": Failure(500, "The prediction failed: {why}", "Check the inputs and parameters."),
    "prediction_timeout": Failure(
        504, "{id} took more than {limit} for a prediction, which was ended.", "{todo}"
    ),
    "unknown_prediction": Failure(
        404, "There is no prediction {id} under way.", "It has ended, or the server was restarted."
    ),
    "too_busy": Failure(503, "{id} has {waiting} predictions waiting already.", "Try again later."),
    # The start and the command line
    "bad_setting": Failure(
        500, "The setting {setting} cannot be {value}. {why}", "Correct it and start again."
    ),
    "token_missing": Failure(
        403,
        "At {host}, others can reach this server, and it has no token.",
        "Set one: export MODELHUB_TOKEN=$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))'). "
        "With MODELHUB_INSECURE=1 everybody who reaches the server can load, use and delete models.",
    ),
    "already_running": Failure(
        500,
        "Another modelhub server uses this data folder.",
        "Stop it, or set MODELHUB_DATA_DIR to another folder.",
    ),
    "port_taken": Failure(
        500,
        "Port {port} is taken by {owner}.",
        "Stop it, or set MODELHUB_PORT to another port.",
    ),
    "newer_journal": Failure(
        500,
        "The journal of loads in the data folder was written by a newer modelhub.",
        "Update modelhub, or set MODELHUB_DATA_DIR to another folder.",
    ),
    "server_unreachable": Failure(
        503,
        "No modelhub server responds at {server}.",
        "Start one with 'modelhub serve' or 'python wsgi.py', or give its address with --server.",
    ),
    # Web processes
    "hub_away": Failure(
        503,
        "The server that loads models does not answer.",
        "This web process passes requests on to it, and will again once it is back. Try again in a moment.",
    ),
    "other_tokens": Failure(
        503,
        "This web process does not ask for the same tokens as the server that loads models.",
        "Start it with the MODELHUB_TOKEN and MODELHUB_VIEW_TOKEN, or MODELHUB_TOKEN_FILE, of that server.",
    ),
    # What is degraded: see /readyz
    "not_live": Failure(
        503,
        "Not live: the server that loads models has not been heard of since {since}.",
        "What you see is as of then, and buttons may not work.",
    ),
    "journal_unavailable": Failure(
        503,
        "The journal of loads cannot be used: {why}.",
        "{todo} Models load as always; of the loads, {kept}.",
    ),
    "insecure": Failure(
        503,
        "MODELHUB_INSECURE is set: everybody who reaches this server can load, use and delete models.",
        "Set MODELHUB_TOKEN instead.",
    ),
    "redis_away": Failure(
        503,
        "Redis does not respond: web processes cannot follow this server.",
        "Models load as always, and this server's own pages show it. Start Redis again, or correct "
        "MODELHUB_REDIS.",
    ),
    "stale_hub": Failure(
        503,
        "Another server has taken over at this Redis: web processes follow that one.",
        "Stop this one, or give it a Redis of its own with MODELHUB_REDIS.",
    ),
    "journal_set_aside": Failure(
        503,
        "The journal of loads was damaged: it was set aside as {name}, and a new one begun.",
        "The history begins anew. Move that file out of the data folder, and this message goes.",
    ),
}


class ModelhubError(Exception):
    """A failure that a user can meet, with its stable ``code``.

    ``facts`` fill the templates of the table. A fact is cut to printable characters, so that a hostile file
    name can neither flood nor forge a log; a path of the server must not be among them.
    Raises KeyError for an unknown code or a missing fact: both are bugs in modelhub.
    """

    def __init__(self, code: str, **facts: object) -> None:
        failure = FAILURES[code]
        clean = {name: units.printable(value, 300) for name, value in facts.items()}
        self.code = code
        self.status = failure.status
        self.message = _sentence(failure.message.format(**clean))
        self.hint = _sentence(failure.hint.format(**clean))
        super().__init__(self.message)

    def to_dict(self) -> ErrorPayload:
        """``{"code", "message", "hint"}``, as in events and REST responses."""
        return {"code": self.code, "message": self.message, "hint": self.hint}

    @classmethod
    def not_here(cls, model_id: str) -> ModelhubError:
        """``unknown_model`` where only this machine was searched: the hub may have the model."""
        todo = "Load it to look for it on the hub."
        return cls("unknown_model", id=model_id, where="on this machine", todo=todo)

    @classmethod
    def from_dict(cls, data: ErrorPayload) -> ModelhubError:
        """The error that ``to_dict`` described in another process, which may know other codes."""
        error = cls.__new__(cls)
        Exception.__init__(error, data["message"])
        error.code = data["code"]
        error.status = FAILURES.get(error.code, FAILURES["internal"]).status
        error.message = data["message"]
        error.hint = data["hint"]
        return error

    @classmethod
    def from_json(cls, text: bytes) -> ModelhubError:
        """The error that another process wrote as JSON."""
        return cls.from_dict(json.loads(text))


def _sentence(text: str) -> str:
    """``text`` with the full stop that it lacks where a fact ends it: message and hint are shown in a row."""
    return text if not text or text[-1] in ".?!…" or text.endswith(('."', ".'", ".”")) else f"{text}."
