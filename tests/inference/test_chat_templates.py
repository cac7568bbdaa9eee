"""Chat templates that do harm: bounded in time and memory, and the model goes on."""

from __future__ import annotations

import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from transformers import processing_utils, tokenization_utils_base
from transformers.utils import chat_template_utils

from modelhub.errors import ModelhubError
from modelhub.inference import chat_templates
from modelhub.inference.interruption import Interrupted, Interruption
from modelhub.inference.pipelines import Predictor
from tests.support.loads import run, spec_for

CHAT = [{"role": "user", "content": "hello"}]
GOOD = "{% for message in messages %}{{ message['content'] }}{% endfor %}"
LONG = {
    "a loop in a loop": "{% for i in range(100000) %}{% for j in range(100000) %}{% endfor %}{% endfor %}",
    "lipsum": "{% for i in range(100000) %}{% set x = lipsum(n=100, min=90, max=100) %}{% endfor %}",
    "macros": "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
}
LARGE = {
    "doubling": "{% set ns = namespace(x='ab' * 1000) %}"
    "{% for i in range(60) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
    "a long product": "{{ 'a' * 10000000000 }}",
    "a wide format": "{{ '%1000000000d' % 1 }}",
    "folded when compiled": "{{ 'a'|center(10000000000) }}",
    "a long list": "{{ [0] * 10000000000 }}",
    "output": "{% for i in range(100000) %}{{ messages[0]['content'] * 100000 }}{% endfor %}",
}
REFUSED = {
    "a long loop": "{% for i in range(10**9) %}{% endfor %}",
    "a long power": "{{ 9 ** (9 ** 9) }}",
    "a long number": "{% set ns = namespace(x=7) %}"
    "{% for i in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
    "deep recursion": "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
    "deep nesting": "{{ " + "(" * 5_000 + "1" + ")" * 5_000 + " }}",
    "its own exception": "{{ raise_exception('no chats here') }}",
    "an escape": "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "not a template": "{% for %}",
}


@pytest.fixture(scope="module")
def interruption() -> Interruption:
    return Interruption()


@pytest.fixture(scope="module")
def llama(made: Path, interruption: Interruption) -> Iterator[Predictor]:
    yield Predictor(run(spec_for("tiny/llama", made))[1], interruption)
    chat_templates.bound_templates(None)


def _predict(llama: Predictor, interruption: Interruption, template: str, seconds: float = 0.0) -> object:
    llama.loaded.processor.chat_template = template
    return interruption.run(1, seconds, lambda: llama.predict(CHAT, {"max_new_tokens": 1}))


def _expect_refusal(llama: Predictor, interruption: Interruption, template: str) -> str:
    with pytest.raises(ModelhubError) as caught:
        _predict(llama, interruption, template)
    assert caught.value.code == "bad_inputs"
    assert "chat template" in caught.value.message
    assert _predict(llama, interruption, GOOD), "the model goes on"
    return caught.value.message


@pytest.mark.parametrize("name", LONG)
def test_a_template_that_takes_long_is_ended(
    llama: Predictor, interruption: Interruption, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(chat_templates, "_SECONDS", 0.2)
    assert "runs for more than 0.2 s" in _expect_refusal(llama, interruption, LONG[name])


@pytest.mark.parametrize("name", LARGE)
def test_a_template_that_fills_the_memory_is_ended(
    llama: Predictor, interruption: Interruption, name: str
) -> None:
    _predict(llama, interruption, GOOD)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    peak = _Peak()
    with peak:
        message = _expect_refusal(llama, interruption, LARGE[name])
    assert "takes more than 256 MB" in message
    assert peak.grown_bytes < 320 * 2**20
    assert resource.getrlimit(resource.RLIMIT_DATA) == before


class _Peak:
    """How much more memory this process had at most in the context than before."""

    def __init__(self) -> None:
        self.grown_bytes = 0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        process = psutil.Process()
        before = process.memory_info().rss
        while not self._ended.wait(0.005):
            self.grown_bytes = max(self.grown_bytes, process.memory_info().rss - before)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


@pytest.mark.parametrize("name", REFUSED)
def test_a_template_that_asks_for_too_much_is_refused(
    llama: Predictor, interruption: Interruption, name: str
) -> None:
    _expect_refusal(llama, interruption, REFUSED[name])


def test_the_time_of_the_prediction_counts_for_its_template_too(
    llama: Predictor, interruption: Interruption
) -> None:
    with pytest.raises(Interrupted) as caught:
        _predict(llama, interruption, LONG["macros"], seconds=0.1)
    assert caught.value.overdue


def test_a_template_under_way_can_be_stopped(llama: Predictor, interruption: Interruption) -> None:
    timer = threading.Timer(0.1, lambda: interruption.stop(1))
    timer.start()
    with pytest.raises(Interrupted) as caught:
        _predict(llama, interruption, LONG["macros"])
    timer.join()
    assert not caught.value.overdue


def test_transformers_renders_where_it_is_bounded() -> None:
    # Where it renders in another place one day, the tests above are what fails.
    for module, name in (
        (tokenization_utils_base, "render_jinja_template"),
        (processing_utils, "render_jinja_template"),
        (chat_template_utils, "_compile_jinja_template"),
    ):
        assert isinstance(getattr(module, name), chat_templates.Bounded)
