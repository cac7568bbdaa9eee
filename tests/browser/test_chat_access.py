"""The chat by keyboard, for a screen reader, and for a reader who scrolls."""

from __future__ import annotations

from playwright.sync_api import expect

from tests.browser.test_access import FOCUSED, STOPS
from tests.browser.test_chat import LONG
from tests.support.chat_models import STORY
from tests.support.chat_page import ENDLESS, RICH
from tests.support.locked import LockedServer
from tests.support.server import wait_until
from tests.support.types import OpenChat


def test_everything_by_keyboard(open_chat: OpenChat, chat_server: LockedServer) -> None:
    chat = open_chat(ENDLESS)
    chat.set("Max tokens", LONG)
    chat.page.reload()
    expect(chat.send).to_be_enabled()
    keyboard = chat.page.keyboard
    for _ in range(chat.page.evaluate(STOPS)):
        keyboard.press("Tab")
        assert chat.page.evaluate(FOCUSED)[1], "the focus cannot be seen"
        if chat.text.evaluate("element => element === document.activeElement"):
            break
    keyboard.type("One line")
    keyboard.press("Shift+Enter")
    keyboard.type("and another")
    request = chat.asked(lambda: keyboard.press("Enter"))
    assert request["messages"] == [{"role": "user", "content": "One line\nand another"}]
    expect(chat.answers).to_contain_text(STORY)
    chat_server.process_of(ENDLESS).suspend()
    keyboard.press("Escape")
    expect(chat.told).to_contain_text("Stopped")
    chat_server.process_of(ENDLESS).resume()
    expect(chat.send).to_have_text("Send")
    keyboard.press("Shift+Tab")
    expect(chat.button("Regenerate")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(chat.button("Copy the answer")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(chat.log).to_be_focused()  # it scrolls with the arrows


LISTEN = """() => {
  window.announced = [];
  new MutationObserver((changes) => {
    for (const { addedNodes } of changes) for (const node of addedNodes) announced.push(node.textContent);
  }).observe(document.querySelector("#chat .spoken"), { childList: true });
}"""


def test_whole_sentences_are_announced_once_each(open_chat: OpenChat) -> None:
    chat = open_chat(RICH)
    chat.page.evaluate(LISTEN)
    chat.say("Show me")
    wait_until(lambda: "The end." in " ".join(chat.page.evaluate("announced")))
    announced = chat.page.evaluate("announced")
    spoken = " ".join(announced)
    assert spoken.startswith("Of files Read a <b> large, see the manual or this or that")
    assert "Code." in spoken
    assert "onclick" not in spoken, "code is not read out"
    assert spoken.count("The end.") == 1
    assert len(announced) <= 3
    assert chat.log.get_attribute("aria-live") == "off"


def test_the_newest_is_followed_unless_one_reads_above(
    open_chat: OpenChat, chat_server: LockedServer
) -> None:
    chat = open_chat(ENDLESS)
    below = "element => element.scrollHeight - element.scrollTop - element.clientHeight"
    chat.set("Max tokens", LONG)
    chat.say("Go on")
    wait_until(lambda: chat.log.evaluate("element => element.scrollTop") > 200)
    process = chat_server.process_of(ENDLESS)
    process.suspend()
    wait_until(lambda: chat.log.evaluate(below) < 2)
    chat.log.hover()
    chat.page.mouse.wheel(0, -150)
    newest = chat.box.get_by_role("button", name="To the newest")
    expect(newest).to_be_visible()
    wait_until(lambda: chat.log.evaluate(below) >= 149)
    top, length = chat.log.evaluate("element => element.scrollTop"), len(chat.answers.inner_text())
    process.resume()
    wait_until(lambda: len(chat.answers.inner_text()) > length + 100)
    assert chat.log.evaluate("element => element.scrollTop") == top
    newest.click()
    expect(newest).to_be_hidden()
    wait_until(lambda: chat.log.evaluate(below) < 2)
    chat.page.keyboard.press("Escape")
    expect(chat.send).to_have_text("Send")
