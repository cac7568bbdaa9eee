"""The texts of the pages; the durations that the script updates have the same words."""

from __future__ import annotations

import json
import re
import subprocess
import time
from typing import Any

import pytest

from modelhub import units, wording
from modelhub.errors import ModelhubError
from modelhub.progress.log import absent
from modelhub.web.pages import model_wording
from tests.support.server import ROOT

TIMES = [
    -1,
    0,
    0.04,
    0.05,
    1.15,
    2.26,
    9.94,
    9.95,
    10.4,
    11.6,
    59.49,
    59.5,
    60,
    75,
    3599.4,
    3599.6,
    3600,
    5400.4,
    90061,
]
ERROR = {**ModelhubError("no_memory", id="a/b", needed="14.1 GB", free="3.2 GB").to_dict(), "step": 4}

INTERRUPTED = {**ModelhubError("interrupted", id="a/b").to_dict(), "step": None}


def snapshot(**changes: Any) -> dict[str, Any]:
    return {**absent("a/b", "e"), "load_id": "1", **changes}


def loading(**changes: Any) -> dict[str, Any]:
    running = {"state": "loading", "step": 5, "phase": "loading_model", "message": "Loading model weights..."}
    running |= {"progress": 0.295, "elapsed": 3.25, "steps": [0.25, 0.1, 0.05, 0.2, *[None] * 5]}
    return snapshot(**{**running, **changes})


BYTES = {"done": 4_200_000_000, "size": 14_100_000_000, "unit": "bytes", "rate": 9.5e8}
SNAPSHOTS = [
    snapshot(),
    snapshot(state="queued", queue_position=1),
    snapshot(state="queued", queue_position=12),
    loading(),
    # The first event of a load: the tracker begins at step 1.
    loading(
        step=1,
        phase="initialization",
        message="Initializing model loader...",
        progress=0.0,
        elapsed=0.0,
        steps=[None] * 9,
    ),
    loading(**BYTES, eta=9.2, detail="model-00002-of-00004.safetensors"),
    loading(**{**BYTES, "done": 12_000_000}, eta=0.3),
    loading(**{**BYTES, "size": None}, eta=None),
    loading(done=120, size=290, unit="tensors", eta=48.1),
    loading(done=120, size=None, unit="tensors", eta=3500),
    loading(**BYTES, stalled_for=12.34),
    loading(progress=0.99999, eta=7201),
    loading(progress=0.0, eta=96),
    snapshot(state="ready", progress=1.0, seconds=3.25, bytes=1.2e9, device="cpu", dtype="bfloat16", step=9),
    snapshot(state="unloading", step=9),
    snapshot(state="failed", error=ERROR, step=4, elapsed=0.75),
    snapshot(state="cancelled", by="page", step=5, elapsed=12.5),
    snapshot(state="cancelled", by="cli"),
    snapshot(memory_before=1_300_000_000, memory_after=120_000_000, freed=1_180_000_000, by="rest"),
    snapshot(state="failed", memory_before=None, memory_after=None, freed=None, by=None, error=ERROR),
    snapshot(state="interrupted", error=INTERRUPTED),
]


def in_state(state: str) -> list[dict[str, Any]]:
    found = [snapshot for snapshot in SNAPSHOTS if snapshot["state"] == state]
    assert found
    return found


@pytest.fixture(scope="module")
def script() -> dict[str, Any]:
    """The results of static/live.js for the same values, run by node."""
    code = """
        const given = JSON.parse(require("fs").readFileSync(0, "utf8"));
        globalThis.document = { getElementById: () => ({ textContent: "{}" }) };
        globalThis.matchMedia = () => ({ matches: false });
        import(given.module).then((live) => console.log(JSON.stringify({
          times: given.times.map(live.duration),
          judged: given.judged.map(([last, next, isReply]) => live.judge(last, next, isReply)),
        })));
    """
    given = {
        "module": str(ROOT / "static" / "live.js"),
        "times": TIMES,
        "judged": [case[:3] for case in VERDICTS],
    }
    done = subprocess.run(
        ["node", "-e", code], input=json.dumps(given), capture_output=True, text=True, timeout=30, check=True
    )
    return dict(json.loads(done.stdout))


def _at(epoch: str, seq: int) -> dict[str, Any]:
    return {"epoch": epoch, "seq": seq}


VERDICTS = [
    (_at("a", 4), _at("a", 5), False, "news"),
    (_at("a", 4), _at("a", 4), False, "old"),
    (_at("a", 4), _at("a", 3), False, "old"),
    (_at("a", 4), _at("a", 6), False, "missed"),
    (_at("a", 4), _at("b", 5), False, "missed"),
    (_at("a", 4), _at("b", 1), False, "missed"),
    (_at("a", 4), _at("a", 4), True, "news"),
    (_at("a", 4), _at("a", 9), True, "news"),
    (_at("a", 4), _at("a", 3), True, "old"),
    (_at("a", 4), _at("b", 0), True, "news"),
]


def test_durations_are_the_same_in_the_script(script: dict[str, Any]) -> None:
    assert script["times"] == [units.duration(value) for value in TIMES]


@pytest.mark.parametrize("snapshot", SNAPSHOTS)
def test_no_text_of_any_snapshot_shows_a_missing_value_or_ends_in_a_separator(
    snapshot: dict[str, Any],
) -> None:
    words = model_wording.page_words(snapshot)
    assert all(isinstance(words[name], str) for name in wording.describe(snapshot))
    assert len(words["steps"]) == len(words["times"]) == 9
    assert json.loads(json.dumps(words)) == words
    texts = [text for text in words.values() if isinstance(text, str)]
    for text in [*texts, *words["times"]]:
        assert not re.search(r"None|\bnan\b|\binf\b|unknown|[{}]|\s\s|\s[,.:;]|\(\)", text), text
        if text != wording.UNKNOWN:
            assert text.strip(" \n·,:;–-") == text, text


@pytest.mark.parametrize("snapshot", [one for one in SNAPSHOTS if one["state"] != "loading"])
def test_a_snapshot_that_is_not_loading_has_the_name_of_its_state_and_announces_its_headline(
    snapshot: dict[str, Any],
) -> None:
    words = model_wording.page_words(snapshot)
    assert words["state"] == words["spoken"] == wording.STATE_NAMES[snapshot["state"]]
    assert words["headline"]
    assert words["announcement"] == f"a/b: {words['headline']}"
    assert words["percent"] == words["step"] == words["stalled"] == words["detail"] == ""


@pytest.mark.parametrize("snapshot", in_state("loading"))
def test_a_loading_snapshot_names_its_step_message_and_percent(snapshot: dict[str, Any]) -> None:
    words = model_wording.page_words(snapshot)
    step, message = f"Step {snapshot['step']} of 9", snapshot["message"]
    percent = f"{min(int(snapshot['progress'] * 100), 99)}%"
    assert (words["step"], words["percent"], words["headline"]) == (step, percent, message)
    assert words["state"] == "Loading"
    assert words["announcement"] == f"a/b: {wording.PHASE_NAMES[snapshot['phase']]}"
    for part in (step, percent, message):
        assert part in words["spoken"]
    before, after = snapshot["step"] - 1, 9 - snapshot["step"]
    assert words["steps"] == ["done"] * before + ["running"] + ["waiting"] * after
    assert words["times"][before] != wording.UNKNOWN, "how long the step has been running"
    assert words["times"][before + 1 :] == [wording.UNKNOWN] * after
    if snapshot["stalled_for"] is None:
        assert words["stalled"] == ""
        assert words["log_line"].startswith(f"{step}: {message}")
    else:
        assert words["stalled"].startswith("No progress for 12 s.")
        assert words["log_line"].startswith("Stalled. ")


@pytest.mark.parametrize("snapshot", [*in_state("failed"), *in_state("interrupted")])
def test_a_failed_snapshot_has_the_message_hint_and_code_of_its_error(snapshot: dict[str, Any]) -> None:
    words, error = model_wording.page_words(snapshot), snapshot["error"]
    assert (words["headline"], words["line"], words["code"]) == (
        error["message"],
        error["hint"],
        error["code"],
    )
    assert words["log_line"] == f"{error['message']} {error['hint']}"


def test_a_failed_snapshot_marks_the_step_at_which_it_failed() -> None:
    failed = snapshot(state="failed", error=ERROR, step=4, elapsed=0.75)
    assert model_wording.step_statuses(failed) == ["done"] * 3 + ["failed"] + ["not reached"] * 5


def test_a_queued_snapshot_names_its_position() -> None:
    headlines = [model_wording.page_words(queued)["headline"] for queued in in_state("queued")]
    assert headlines == ["Next in the queue", "Position 12 in the queue"]


def test_a_cancelled_snapshot_names_the_step_it_had_come_to() -> None:
    lines = [model_wording.page_words(cancelled)["line"] for cancelled in in_state("cancelled")]
    assert lines == ["At step 5 of 9, after 12 s.", "It had not started."]


def test_a_ready_snapshot_names_time_size_device_and_data_type() -> None:
    (ready,) = in_state("ready")
    words = model_wording.page_words(ready)
    assert (words["headline"], words["line"]) == ("Ready to use", "in 3.2 s · 1.2 GB · cpu · bfloat16")
    assert words["steps"] == ["done"] * 9


def _used(**changes: Any) -> dict[str, Any]:
    use = {"running": 0, "waiting": 0, "tokens_per_second": None, "idle_since": None, "leaves_at": None}
    return snapshot(state="ready", use={**use, "memory": 1, **changes})


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"running": 2, "waiting": 1, "tokens_per_second": 34.2}, "2 running, 1 waiting · 34 tokens/s"),
        ({"running": 1}, "1 running"),
        ({"waiting": 3}, "3 waiting"),
        ({"running": 1, "tokens_per_second": 3.42}, "1 running · 3.4 tokens/s"),
    ],
)
def test_a_model_in_use_says_by_how_many_and_how_fast_it_writes(changes: dict[str, Any], said: str) -> None:
    assert model_wording.page_words(_used(**changes))["use"] == said


def test_an_idle_model_says_since_when_and_when_it_leaves() -> None:
    now = time.time()
    zone = time.strftime("%Z")
    since, leaves = (time.strftime(f"%H:%M {zone}", time.localtime(now + more)) for more in (0, 1))
    assert wording.use(_used(idle_since=now)) == f"Idle since {since}"
    will_leave = f"Idle since {since.partition(' ')[0]}, leaves at {leaves}"
    assert wording.use(_used(idle_since=now, leaves_at=now + 1)) == will_leave
    assert re.fullmatch(
        r"Idle since \d{4}-\d\d-\d\d \d\d:\d\d \w+", wording.use(_used(idle_since=now - 90_000))
    )
    assert wording.use(snapshot(state="loading")) == ""


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("page", "from a page"),
        ("ollama", "by an Ollama client"),
        ("idle for 5 min", "since nobody used it for 5 min"),
        ("keep_alive of 0 s", "since nobody used it for 0 s, as a client had asked (keep_alive)"),
        ("room for org/b", "to make room for org/b"),
        (None, ""),
    ],
)
def test_why_a_model_has_left(by: str | None, said: str) -> None:
    assert wording.cause_of_unload(by) == said


def test_an_unloaded_snapshot_shows_the_receipt() -> None:
    lines = [model_wording.page_words(absent)["line"] for absent in in_state("absent")]
    assert lines == ["", "Unloaded over the API: 1.2 GB freed (1.3 GB before, 120 MB after)."]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"state": "absent"}, ["load"]),
        ({"state": "absent", "freed": 1}, ["again"]),
        ({"state": "queued"}, ["cancel"]),
        ({"state": "loading"}, ["cancel"]),
        ({"state": "ready"}, ["unload"]),
        ({"state": "ready", "task": "fill-mask"}, ["try", "unload"]),
        ({"state": "unloading"}, []),
        ({"state": "cancelled"}, ["load", "dismiss"]),
        ({"state": "failed"}, ["retry", "dismiss"]),
        ({"state": "failed", "error": ERROR}, ["retry", "force", "dismiss"]),
    ],
)
def test_only_buttons_that_make_sense(changes: dict[str, Any], expected: list[str]) -> None:
    assert model_wording.actions(snapshot(**changes)) == expected


def test_what_needs_attention_comes_first() -> None:
    interrupted = snapshot(state="interrupted", error=INTERRUPTED)
    rows = [snapshot(state=state) for state in ("absent", "ready", "failed", "queued", "loading")]
    ranked = sorted([*rows, interrupted], key=lambda one: wording.rank(one["state"]))
    assert [row["state"] for row in ranked] == [
        "loading",
        "queued",
        "failed",
        "interrupted",
        "ready",
        "absent",
    ]
    assert ranked[3] is interrupted


@pytest.mark.parametrize("index", range(len(VERDICTS)))
def test_the_script_judges_events_by_epoch_and_seq(script: dict[str, Any], index: int) -> None:
    assert script["judged"][index] == VERDICTS[index][3]


def test_bytes_rate_and_time_left_in_one_line() -> None:
    line = wording.describe(loading(**BYTES, eta=9.2))["line"]
    assert line == "4.2 of 14.1 GB · 950 MB/s · about 10 s left"
    words = wording.describe(loading(**BYTES, eta=9.2, eta_low=5.2, eta_high=15.5))
    assert words["line"] == "4.2 of 14.1 GB · 950 MB/s · 5 to 15 s left"
    assert words["left"] == "5 to 15 s"
    assert words["spoken"].endswith(", 5 to 15 s left")


def test_what_is_not_known_is_shown_as_not_known() -> None:
    words = wording.describe(loading())
    assert words["line"] == "time left not known yet"
    assert words["left"] == "not known yet"
    assert words["amount"] == words["rate"] == "–"


def test_never_a_hundred_percent_before_ready() -> None:
    assert wording.describe(loading(progress=0.99999))["percent"] == "99%"


def test_a_stall_is_shown_in_words() -> None:
    assert wording.describe(loading(stalled_for=12.34))["stalled"].startswith("No progress for 12 s.")


@pytest.mark.parametrize(
    ("changes", "likely"),
    [
        (
            {"step": 3, "unit": "bytes", "done": 5, "size": 9, "detail": "model.safetensors"},
            "the network or the hub",
        ),
        ({"step": 1, "detail": "asking the hub"}, "the network or the hub"),
        ({"step": 2, "unit": "bytes", "done": 5, "size": 9, "detail": "4 files from the hub"}, "the network"),
        (
            {"id": "demo/random-2gb", "step": 3, "unit": "bytes", "done": 5, "size": 9},
            "disk is probably slow",
        ),
        (
            {"step": 5, "unit": "bytes", "done": 5, "size": 9, "detail": "model.safetensors"},
            "disk is probably slow",
        ),
        ({"step": 9, "detail": "a first forward pass"}, "the processor is probably busy"),
    ],
)
def test_a_stall_names_its_likely_cause(changes: dict[str, Any], likely: str) -> None:
    stalled = loading(**{"stalled_for": 12.0, **changes})
    text = wording.describe(stalled)["stalled"]
    assert likely in text
    assert text.endswith("The load continues.")
    assert model_wording.log_line(stalled).startswith("Stalled. ")
    assert model_wording.log_line(stalled) == model_wording.log_line({**stalled, "stalled_for": 99.0}), (
        "a stall is one line of the log"
    )


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        ("stopped", "Its process is stopped (SIGSTOP); SIGCONT resumes it."),
        ("disk", "It probably waits for the disk."),
        ("swap", "Its memory is probably being swapped in: memory is short."),
        ("network", "It probably waits for the network or the hub."),
        ("processor", "It still computes; the processor is probably busy."),
    ],
)
@pytest.mark.parametrize("step", [3, 5, 9])
def test_a_stall_whose_cause_is_seen_names_that_instead(cause: str, words: str, step: int) -> None:
    stalled = loading(stalled_for=12.0, stall_cause=cause, step=step)
    assert wording.describe(stalled)["stalled"] == f"No progress for 12 s. {words} The load continues."
    assert model_wording.log_line(stalled) == f"Stalled. {words}"


def test_an_interrupted_load_is_shown_with_what_to_do() -> None:
    words = model_wording.page_words(snapshot(state="interrupted", error=INTERRUPTED))
    assert (words["state"], words["actions"]) == ("Interrupted", ["load", "dismiss"])
    assert words["headline"] == "The server stopped while a/b was loading."
    assert words["line"] == "Load it again: what was downloaded is kept."


def test_a_cancelled_load_shows_where_it_was_cancelled_from() -> None:
    words = wording.describe(snapshot(state="cancelled", by="page", step=5, elapsed=12.5))
    assert words["headline"] == "Cancelled from a page"
    assert words["line"] == "At step 5 of 9, after 12 s."


def test_facts_leave_out_what_is_not_known() -> None:
    known = dict(
        model_wording.facts(snapshot(state="ready", parameters=50_700_000, dtype="bfloat16", task=None))
    )
    assert known == {"Parameters": "50.7 million", "Data type": "bfloat16"}


def test_a_download_says_what_it_is_and_how_far() -> None:
    running = {
        "step": 3,
        "message": "Checking model cache...",
        "unit": "bytes",
        "rate": 25e6,
        "eta": 15.8,
        "eta_low": 9.0,
        "eta_high": 21.0,
    }
    words = wording.describe(
        loading(**running, done=119_000_000, size=515_000_000, detail="model.safetensors")
    )
    assert words["headline"] == "Downloading 119 of 515 MB from the hub"
    assert words["line"] == "25.0 MB/s · 10 to 20 s left"
    assert words["detail"] == "Checking model cache... model.safetensors"
    assert words["amount"] == "119 of 515 MB"
    done = loading(**running, done=515_000_000, size=515_000_000, detail="verifying the files")
    assert wording.headline(done) == "Verifying the downloaded files"
    small = loading(**{**running, "step": 2}, done=3, size=9, detail="fetching 8 files from the hub")
    assert wording.headline(small) == "Fetching 8 files from the hub"
    assert wording.headline(loading(**{**running, "unit": None})) == "Checking model cache..."


def test_a_demo_says_that_it_is_being_made() -> None:
    demo = {"id": "demo/random-0.1gb", "step": 3, "message": "Checking model cache...", "unit": "bytes"}
    words = wording.describe(loading(**demo, done=50_000_000, size=100_000_000, rate=2e8, eta=0.4))
    assert words["headline"] == "Making the demo model"
    assert words["line"] == "50.0 of 100 MB · 200 MB/s · less than 1 s left"
    assert wording.headline(loading(**{**demo, "unit": None})) == "Checking model cache..."
