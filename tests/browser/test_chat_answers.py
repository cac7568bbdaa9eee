"""What chat models write, and what they are shown: Markdown that cannot harm the page, images made small."""

from __future__ import annotations

import io

from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser.test_access import CONTRAST
from tests.browser.test_axe import AXE, SMALL, violations
from tests.support.chat_page import RICH, RICH_WORDS, SEEING
from tests.support.gallery import SCHEMES
from tests.support.types import OpenChat


def test_what_a_model_writes_is_shown_and_inert(open_chat: OpenChat) -> None:
    chat = open_chat(RICH)
    addresses: list[str] = []
    chat.page.on("request", lambda request: addresses.append(request.url))
    chat.say("Show me")
    answer = chat.answers
    reasoning = chat.newest.locator(".reasoning .markdown")
    expect(reasoning).to_have_text("Let me see.")
    expect(reasoning).to_be_hidden()
    chat.newest.get_by_text("Reasoning", exact=True).click()
    expect(reasoning).to_be_visible()
    expect(answer).to_contain_text("The end.")
    expect(answer.locator("h4")).to_have_text(["Of files", "said"])
    expect(answer.locator("p code")).to_have_text("a <b>")
    expect(answer.locator("pre code")).to_have_text('<b onclick="window.pwned=8">bold</b>')
    expect(answer.locator("td")).to_have_text(["<b>1</b>", "2"])
    expect(answer.locator("ol li ul li")).to_have_text("☑ two")
    expect(answer).to_contain_text("As text: <img src=x onerror=window.pwned=6> &amp;")
    assert answer.locator("img, script, iframe, [onclick], [onerror], [style]").count() == 0
    links = answer.locator("a").all()
    assert {(link.get_attribute("href") or "").split("/")[2] for link in links} == {
        "example.org",
        "127.0.0.1:9",
    }
    assert {link.get_attribute("rel") for link in links} == {"noopener noreferrer nofollow"}
    assert answer.locator("a", has_text="Image: a picture").count() == 1
    assert chat.page.evaluate("window.pwned") is None
    assert not [address for address in addresses if not address.endswith("/v1/chat/completions")]
    chat.page.evaluate("navigator.clipboard.writeText = async (text) => { window.copied = text }")
    chat.button("Copy the code").click()
    assert chat.page.evaluate("window.copied") == '<b onclick="window.pwned=8">bold</b>'
    chat.button("Copy the answer").click()
    assert chat.page.evaluate("window.copied") == "".join(RICH_WORDS)
    _check_looks(chat.page)


def _check_looks(page: Page) -> None:
    """In light and dark, and on the narrowest phone."""
    page.evaluate(AXE.read_text())
    page.get_by_text("Settings", exact=True).click()
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        assert violations(page) == []
        assert page.evaluate(CONTRAST) == []
    page.set_viewport_size({"width": 320, "height": 600})
    assert violations(page) == []
    assert page.evaluate(SMALL) == [], "text of less than 14 px"
    assert page.evaluate("document.documentElement.scrollWidth") <= 320


RENDER = """async (texts) => {
  const { MarkdownView } = await import("/static/chat/markdown.js");
  const rendered = [];
  for (const text of texts) {
    const [grown, whole] = [document.createElement("div"), document.createElement("div")];
    const view = new MarkdownView(grown);
    const step = Math.ceil(text.length / 200);
    for (let end = step; end < text.length; end += step) view.show(text.slice(0, end), false);
    view.show(text);
    new MarkdownView(whole).show(text);
    const count = whole.querySelectorAll("*").length;
    rendered.push([grown.innerHTML === whole.innerHTML, whole.textContent, count]);
  }
  return rendered;
}"""
TRICKY = (
    "".join(RICH_WORDS),
    "[later] and\r\n\r\n- a\n- b\n\n  c\n\n[later]: https://example.org\n",
    "a\n===\n\n```\nnever closed\n\n# not a heading",
    "| a |\n|---|\n| `|` |\nno row\n\n1) x\n\n\n2) y\n\n    code\n",
    "&#0; &#x110000; &nosuch; &Aacute &copy; <!-- c --> <?x ?> <![CDATA[x]]> \\<b\\> [a](<b c>) [](http://x)",
    "> " * 3000 + "deep",
    "- " * 3000 + "deep",
    "a" + "*" * 3000,
    "[" * 3000,
)


def test_an_answer_that_grows_looks_as_one_that_came_whole(open_chat: OpenChat) -> None:
    chat = open_chat(RICH)
    for text, (is_same, shown, elements) in zip(TRICKY, chat.page.evaluate(RENDER, TRICKY), strict=True):
        assert is_same, text
        assert shown.strip()
        assert elements < 100, text


def test_images_go_with_a_message_made_small(open_chat: OpenChat) -> None:
    chat = open_chat(SEEING)
    picture = io.BytesIO()
    Image.new("RGB", (3000, 1500), "red").save(picture, "PNG")
    files = [
        {"name": "red.png", "mimeType": "image/png", "buffer": picture.getvalue()},
        {"name": "no.png", "mimeType": "image/png", "buffer": b"no image"},
    ]
    with chat.page.expect_file_chooser() as chooser:
        chat.box.get_by_role("button", name="Add images").click()
    chooser.value.set_files(files * 2)  # type: ignore[arg-type]
    expect(chat.box.get_by_role("alert")).to_contain_text("Not all could be added")
    chat.box.get_by_role("button", name="Remove image 2").click()
    chat.page.evaluate(AXE.read_text())
    assert violations(chat.page) == []
    chat.set("Max tokens", "5")
    request = chat.asked(lambda: chat.say("What is this?"))
    (message,) = request["messages"]
    image, text = message["content"]
    assert text == {"type": "text", "text": "What is this?"}
    assert image["image_url"]["url"].startswith("data:image/jpeg;base64,")
    sent = chat.newest.get_by_role("img", name="Image 1")
    assert sent.evaluate("image => [image.naturalWidth, image.naturalHeight]") == [1024, 512]
    expect(chat.box.get_by_role("button", name="Remove image 1")).to_have_count(0)
    expect(chat.told).to_contain_text("5 tokens")
    expect(chat.alert).to_have_count(0)
