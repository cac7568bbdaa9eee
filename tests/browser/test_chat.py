"""The chat on the page of a model: a conversation in a real browser, with a server that asks for tokens."""

from __future__ import annotations

import re

from playwright.sync_api import StorageState, expect

from tests.browser.test_login import log_in
from tests.support.chat_models import STORY
from tests.support.chat_page import API, ENDLESS, RICH, TALE, Chat
from tests.support.locked import VIEW, LockedServer
from tests.support.server import wait_until
from tests.support.types import OpenChat, OpenPage

FIGURES = re.compile(r"^\d+ tokens · [\d.]+ tokens/s · first token after [\d.]+ m?s$")
TOP = "element => element.getBoundingClientRect().top"
LONG = "8000"  # tokens


def test_a_conversation_streams_is_kept_over_a_reload_and_begins_anew(open_chat: OpenChat) -> None:
    chat = open_chat(TALE)
    expect(chat.page.locator("#try-text")).to_be_hidden()
    chat.set("System prompt", "Tell stories.")
    chat.set("Seed", "7")
    first = chat.asked(lambda: chat.say("Tell me one."))
    told = [{"role": "system", "content": "Tell stories."}, {"role": "user", "content": "Tell me one."}]
    assert first == {"model": TALE, "messages": told, "seed": 7, "stream": True}
    expect(chat.answers).to_have_text([STORY])
    expect(chat.told).to_have_text(FIGURES)
    expect(chat.text).to_have_value("")
    expect(chat.text).to_be_focused()
    second = chat.asked(lambda: chat.say("Another, please."))
    assert second["messages"] == [
        *told,
        {"role": "assistant", "content": STORY},
        {"role": "user", "content": "Another, please."},
    ]
    expect(chat.answers).to_have_text([STORY, STORY])
    expect(chat.button("Regenerate")).to_be_visible()
    chat.page.reload()
    expect(chat.answers).to_have_text([STORY, STORY])
    expect(chat.told).to_have_text(FIGURES)
    expect(chat.page.get_by_label("System prompt")).to_have_value("Tell stories.")
    regenerated = chat.asked(lambda: chat.button("Regenerate").click())
    assert regenerated["messages"] == second["messages"]
    expect(chat.text).to_be_focused()
    expect(chat.answers).to_have_text([STORY, STORY])
    chat.box.get_by_role("button", name="New chat").click()
    expect(chat.answers).to_have_count(0)
    chat.page.reload()
    expect(chat.box).to_contain_text("kept in this tab of your browser only")
    expect(chat.answers).to_have_count(0)


def _begin(chat: Chat, server: LockedServer) -> None:
    """Have an endless answer written, and hold its process in the middle of it."""
    chat.set("Max tokens", LONG)
    chat.say("Go on")
    expect(chat.answers).to_contain_text(STORY)
    server.process_of(ENDLESS).suspend()
    expect(chat.send).to_have_text("Stop")


def test_stop_ends_it_and_what_was_written_stays(open_chat: OpenChat, chat_server: LockedServer) -> None:
    chat = open_chat(ENDLESS)
    _begin(chat, chat_server)
    chat.page.wait_for_timeout(500)  # a click so soon after the one that sends is not meant for Stop
    chat.send.click()
    expect(chat.told).to_have_text(re.compile(r"^Stopped after about \d+ tokens · about [\d.]+ tokens/s"))
    expect(chat.send).to_have_text("Send")
    chat_server.process_of(ENDLESS).resume()
    so_far = chat.answers.inner_text()
    assert so_far.startswith(STORY)
    chat.page.reload()
    expect(chat.answers).to_have_text(so_far)


def test_an_answer_that_was_cut_off_goes_on(open_chat: OpenChat) -> None:
    chat = open_chat(ENDLESS)
    chat.set("Max tokens", "5")
    chat.say("Go on")
    expect(chat.told).to_contain_text("Cut off at 5 tokens · ")
    so_far = "One day there was a"
    expect(chat.answers).to_have_text(so_far)
    request = chat.asked(lambda: chat.button("Continue").click())
    assert request["messages"][-1] == {"role": "assistant", "content": so_far}
    assert request["continue_final_message"] is True
    expect(chat.answers).to_have_text(f"{so_far} model that wrote these words,")
    expect(chat.told).to_contain_text("Cut off at 5 tokens · ")
    chat.set("Temperature", "3")
    chat.box.get_by_text("Settings", exact=True).click()
    chat.say("No such temperature")
    expect(chat.page.get_by_label("Temperature")).to_be_focused()  # the panel has opened to show it
    expect(chat.answers).to_have_count(1)


def test_a_model_that_has_left_is_loaded_by_the_next_message(
    open_chat: OpenChat, chat_server: LockedServer
) -> None:
    chat = open_chat(TALE)
    chat.say("Tell me one.")
    expect(chat.answers).to_have_text([STORY])
    expect(chat.button("Regenerate")).to_be_visible()
    top = chat.text.evaluate(TOP)
    chat_server.delete(f"/api/models/{TALE}")
    expect(chat.page.locator("#model")).to_have_attribute("data-state", "absent")
    expect(chat.page.locator("#load")).to_have_attribute("open", "")
    wait_until(lambda: abs(chat.text.evaluate(TOP) - top) < 2)  # whatever unfolds above
    chat.page.reload()
    expect(chat.answers).to_have_text([STORY])
    frozen = chat_server.freeze_load(TALE)
    chat.say("Another, please.")
    expect(chat.told).to_contain_text(re.compile(r"^Loading \d+"))
    frozen.resume()
    expect(chat.answers).to_have_text([STORY, STORY])
    expect(chat.told).to_contain_text("the load included")


def test_failures_are_said_in_words_and_can_be_tried_again(
    open_chat: OpenChat, chat_server: LockedServer
) -> None:
    chat = open_chat(ENDLESS)
    _begin(chat, chat_server)
    chat_server.process_of(ENDLESS).kill()
    expect(chat.alert).to_contain_text("ended")
    expect(chat.told).to_contain_text("Broken off after about")
    expect(chat.answers).to_contain_text(STORY)
    chat.page.route(API, lambda route: route.abort())
    chat.button("Try again").click()
    expect(chat.alert).to_have_text("The server does not respond. Is it running?")
    chat.page.unroute(API)
    chat.set("Max tokens", "5")
    chat.button("Try again").click()
    expect(chat.told).to_contain_text("Cut off at 5 tokens · ")
    expect(chat.alert).to_have_count(0)


def test_without_javascript_the_plain_form_stays(
    chat_server: LockedServer, logged_in: StorageState, open_page: OpenPage
) -> None:
    chat_server.load(RICH)
    options = {"to": chat_server, "storage_state": logged_in, "java_script_enabled": False}
    page = open_page(f"/models/{RICH}", **options)
    expect(page.locator("#chat")).to_be_hidden()
    page.get_by_role("textbox", name="Prompt", exact=True).fill("hello")
    page.get_by_role("button", name="Run").click()
    expect(page.locator("#result blockquote")).to_have_count(1)


def test_a_viewer_gets_no_chat_and_the_reason(chat_server: LockedServer, open_page: OpenPage) -> None:
    chat_server.load(RICH)
    page = open_page(f"/models/{RICH}", to=chat_server)
    log_in(page, VIEW)
    expect(page.locator("#badge")).to_have_text("Live")
    expect(page.locator(".chat")).to_contain_text("To chat with this model, log in with the other token")
    assert page.locator("textarea:visible").count() == 0
