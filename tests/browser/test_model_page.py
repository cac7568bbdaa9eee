"""The page of one model in a browser: segments, sparkline, log, try-it box, the end of the server."""

from __future__ import annotations

import re
import threading
from pathlib import Path

from playwright.sync_api import APIResponse, Route, expect

from tests.browser.test_load import model, wait_live, watch_a_load
from tests.support import models
from tests.support.ids import DEMO
from tests.support.page_states import SLOW_DISK, freeze_in_weights, let_run_into_weights
from tests.support.server import Server, wait_until
from tests.support.types import OpenPage, StartServer
from tests.web.pages.test_predictions import picture

LARGE = 8_000_000  # words of a sparse model of 2 GB
PATH = "document.querySelector('#spark path').getAttribute('d')"

# Whether the filled part ends in the segment of the running step, and the segments fill the bar.
WATCH = """() => {
  window.seen = [];
  const look = () => {
    const bar = document.querySelector("progress");
    const running = document.querySelector(".segments [data-status=running] .line");
    const lines = [...document.querySelectorAll(".segments .line")];
    const sum = lines.reduce((total, line) => total + parseFloat(line.getAttribute("width")), 0);
    if (running) {
      const begin = parseFloat(running.getAttribute("x"));
      const end = begin + parseFloat(running.getAttribute("width"));
      seen.push([100 * bar.value, begin, end, sum]);
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def test_the_filled_part_agrees_with_the_segments(server: Server, open_page: OpenPage) -> None:
    server.delete(f"/api/files/{DEMO}")  # so that it is made again, which takes longer than a load
    page = wait_live(open_page(f"/models/{DEMO}"))
    seen = watch_a_load(page, WATCH, "seen")
    assert len(seen) > 5
    for value, _, end, total in seen:
        assert value <= end + 0.5, "the bar is never past the running step"
        assert abs(total - 100) < 0.5


def test_the_sparkline_is_there_after_a_reload_in_mid_load(
    tmp_path: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    models.make_sparse_llama(tmp_path / "models" / "large/llama", LARGE)
    own = start_server(SLOW_DISK, MODELS_DIR=tmp_path / "models").wait_warm()
    page = wait_live(open_page("/models/large/llama", to=own))
    freeze_in_weights(own, "large/llama", 0.6)
    wait_until(lambda: "L" in page.evaluate(PATH))
    kept = page.evaluate(PATH).count("L")
    page.route("**/*.js", lambda route: route.abort())  # as the server drew it
    page.reload()
    assert page.evaluate(PATH).count("L") >= kept
    expect(page.get_by_role("img", name="Rate since the start, at most")).to_have_count(1)
    page.unroute("**/*.js")
    wait_live(open_page("/models/large/llama", to=own))
    own.unload_all()


def test_the_log_grows_as_the_load_goes(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/models/tiny/vit"))
    page.get_by_text("Log of the latest load").click()
    page.get_by_role("button", name="Load").click()
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(page.locator("#log li").last).to_contain_text("Ready to use.")
    lines = page.locator("#log .what").all_inner_texts()
    steps = list(dict.fromkeys(line[:11] for line in lines if line.startswith("Step")))
    assert steps == [f"Step {step} of 9" for step in range(1, 10)]
    # The facts come with the server's own log.
    expect(page.locator("#facts")).to_contain_text("ViTForImageClassification")
    assert page.locator("#log .what").all_inner_texts() == lines


def test_how_long_a_load_will_take_is_said_whenever_there_is_one_to_come(
    server: Server, open_page: OpenPage
) -> None:
    page = wait_live(open_page("/models/tiny/vit"))
    said = page.locator("#expected")
    expect(said).to_have_text(re.compile("last time|from memory|from disk|the first load|no load here"))
    page.get_by_role("button", name="Load").click()
    expect(model(page)).to_have_attribute("data-state", "ready")
    expect(said).to_be_empty()
    server.delete("/api/models/tiny/vit")
    expect(said).to_have_text(re.compile("last time|from memory|no load here"))


def test_the_log_keeps_the_lines_that_came_while_the_page_was_fetched(
    tmp_path: Path, start_server: StartServer, open_page: OpenPage
) -> None:
    models.make_sparse_llama(tmp_path / "models" / "large/llama", LARGE)
    own = start_server(SLOW_DISK, MODELS_DIR=tmp_path / "models").wait_warm()
    page = wait_live(open_page("/models/large/llama", to=own))
    page.get_by_text("Log of the latest load").click()
    held: list[tuple[Route, APIResponse]] = []
    page.route("**/models/large/llama", lambda route: held.append((route, route.fetch())))
    frozen = own.freeze_load("large/llama")
    expect(model(page)).to_have_attribute("data-state", "loading")
    page.wait_for_timeout(1000)  # the page fetches itself 150 ms after a change of state
    let_run_into_weights(own, frozen, "large/llama", 0.1)
    expect(page.locator("#log .what").last).to_contain_text("Step 5 of 9")
    lines = page.locator("#log .what").all_inner_texts()
    fetched = [response.text().count('class="what"') for _, response in held]
    assert fetched
    assert max(fetched) < len(lines)
    page.evaluate("document.getElementById('past').dataset.before = ''")
    for route, response in held:
        route.fulfill(response=response)
    expect(page.locator("#past[data-before]")).to_have_count(0)  # the page has what it fetched
    assert page.locator("#log .what").all_inner_texts()[: len(lines)] == lines
    page.unroute("**/models/large/llama")
    own.unload_all()


def test_a_failure_opens_the_log(server: Server, open_page: OpenPage) -> None:
    server.load("nobody/here")
    page = wait_live(open_page("/models/nobody/here"))
    page.evaluate("document.getElementById('log-section').open = false")
    page.get_by_role("button", name="Retry").click()
    expect(page.locator("#log-section")).to_have_attribute("open", "")
    error = server.snapshot("nobody/here")["error"]
    expect(page.locator("#log li").last).to_contain_text(error["hint"])


def test_a_prediction_is_run_on_the_page(server: Server, open_page: OpenPage) -> None:
    page = wait_live(open_page("/models/tiny/bert"))
    expect(page.locator("#try")).to_contain_text("Once the model is ready")
    page.get_by_role("button", name="Load").click()
    page.get_by_label("Text with the model's mask token").fill("a small [MASK]")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result tbody tr")).to_have_count(5)
    page.get_by_label("Text with the model's mask token").fill("nothing is missing")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result .alert")).to_contain_text("cannot use these inputs")
    expect(page).to_have_url(server.url + "/models/tiny/bert")


def test_a_file_is_sent_by_the_page(server: Server, open_page: OpenPage) -> None:
    server.load("tiny/vit")
    page = wait_live(open_page("/models/tiny/vit"))
    page.get_by_label("Image", exact=True).set_input_files(
        {"name": "a.png", "mimeType": "image/png", "buffer": picture()}
    )
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result")).to_contain_text("green")


def test_the_page_announces_that_the_server_is_shutting_down(
    start_server: StartServer, open_page: OpenPage
) -> None:
    own = start_server().wait_warm()
    page = wait_live(open_page("/models/tiny/llama", to=own))
    page.evaluate("""() => {
      window.badges = [];
      new MutationObserver(() => badges.push(document.getElementById("badge").textContent))
        .observe(document.getElementById("badge"), { childList: true, characterData: true, subtree: true });
    }""")
    ending = threading.Thread(target=own.stop)
    ending.start()
    stopped = re.compile(r"^Server stopped at \d\d:\d\d:\d\d, waiting for it to come back$")
    expect(page.locator("#badge")).to_have_text(stopped)
    ending.join()
    assert page.evaluate("badges")[0] == "The server is shutting down."
    own.start()
    wait_live(page)
