// What a model writes in Markdown, as elements. marked parses it; the elements are made here one by one, so no text of
// a model is ever parsed as HTML, and no address of its is fetched.

import { Lexer } from "../node_modules/marked/lib/marked.esm.js";
import { button, make } from "./dom.js";

const DEEPEST = 20; // what is nested deeper is shown as it was written
const TOO_DEEP = /^(?:[ \t]*(?:>|(?:[*+-]|\d{1,9}[.)])[ \t])){24}/m; // takes marked long
const SCHEMES = ["http:", "https:", "mailto:"];
const ENTITY = /&(?:#\d{1,7}|#x[\da-f]{1,6}|[a-z][a-z\d]{1,31});/gi;

// The blocks of a text; of one that is nested too deep, a single plain one.
function lex(text) {
  try {
    if (!TOO_DEEP.test(text)) return Lexer.lex(text);
  } catch { /* it has found another way to be too deep */ }
  return [{ type: "plain", raw: text }];
}

// Shows a text that grows in `root`: blocks that are complete stay as they are, the last ones are made anew.
export class MarkdownView {
  #root;
  #blocks = []; // { token, node }

  constructor(root) {
    this.#root = root;
  }

  // Show all of `text`, which begins as before; `isWhole`: nothing will follow.
  show(text, isWhole = true) {
    const kept = isWhole ? 0 : Math.max(this.#blocks.length - 2, 0); // what follows may still become part of them
    const offset = this.#blocks.slice(0, kept).reduce((sum, { token }) => sum + token.raw.length, 0);
    const tokens = lex(text.slice(offset));
    // An address may be given after the link that names it.
    if (isWhole && tokens.some(({ type }) => type === "def")) this.#cut(0);
    for (const [index, token] of tokens.entries()) this.#put(kept + index, token);
    this.#cut(kept + tokens.length);
  }

  #put(index, token) {
    const shown = this.#blocks[index];
    if (shown?.token.raw === token.raw && shown.token.type === token.type) return;
    if (shown?.node && token.type === "code" && shown.token.type === "code" && shown.token.lang === token.lang) {
      shown.node.querySelector("code").textContent = token.text;
      shown.token = token;
      return;
    }
    this.#cut(index);
    const node = block(token);
    if (node) this.#root.append(node);
    this.#blocks.push({ token, node });
  }

  #cut(length) {
    for (const { node } of this.#blocks.splice(length)) node?.remove();
  }
}

const plain = (token) => make("p", [token.raw.trim()], { className: "as-written" });
const parts = (tokens, depth) => tokens.map((token) => inline(token, depth)).filter(Boolean);
const cell = (tag, { tokens, align }, depth) => make(tag, parts(tokens, depth), { className: align ?? "" });

const BLOCKS = {
  plain,
  html: plain,
  space: () => null,
  def: () => null,
  hr: () => make("hr"),
  // All of one level: the answers are below a heading of level 3, and a text may skip levels.
  heading: ({ tokens, depth: level }, depth) => make("h4", parts(tokens, depth), { className: `level-${level}` }),
  paragraph: ({ tokens }, depth) => make("p", parts(tokens, depth)),
  text: ({ tokens, text }, depth) => make("span", tokens ? parts(tokens, depth) : [decoded(text)]),
  checkbox: ({ checked }) => document.createTextNode(checked ? "☑ " : "☐ "),
  blockquote: ({ tokens }, depth) => make("blockquote", blocks(tokens, depth)),
  list: ({ ordered, start, items }, depth) =>
    make(ordered ? "ol" : "ul", items.map(({ tokens }) => make("li", blocks(tokens, depth))), ordered ? { start } : {}),
  code: ({ lang, text }) => {
    const name = lang?.match(/^\S{1,30}/)?.[0] ?? "";
    const copy = button("copy-code", "Copy", " the code");
    const head = make("div", [make("span", [name]), copy], { className: "code-head" });
    return make("div", [head, make("pre", [make("code", [text])], { tabIndex: 0 })], { className: "code-block" });
  },
  table: ({ header, rows }, depth) => {
    const head = make("thead", [make("tr", header.map((one) => cell("th", one, depth)))]);
    const body = make("tbody", rows.map((row) => make("tr", row.map((one) => cell("td", one, depth)))));
    return make("div", [make("table", [head, body])], { className: "scroll", tabIndex: 0, role: "region", ariaLabel: "Table" });
  },
};

const INLINE = {
  text: ({ tokens, text, escaped }, depth) => tokens ? make("span", parts(tokens, depth)) : escaped ? text : decoded(text),
  escape: ({ text }) => text,
  html: ({ text }) => text,
  checkbox: BLOCKS.checkbox,
  br: () => make("br"),
  codespan: ({ text }) => make("code", [text]),
  strong: ({ tokens }, depth) => make("strong", parts(tokens, depth)),
  em: ({ tokens }, depth) => make("em", parts(tokens, depth)),
  del: ({ tokens }, depth) => make("del", parts(tokens, depth)),
  link: ({ href, tokens }, depth) => link(href, parts(tokens, depth)),
  image: ({ href, text }) => link(href, [`Image: ${decoded(text) || href}`]), // it is not fetched
};

function build(kinds, token, depth) {
  const kind = depth < DEEPEST && Object.hasOwn(kinds, token.type) && kinds[token.type];
  return kind ? kind(token, depth + 1) : kinds === BLOCKS ? plain(token) : token.raw;
}

const block = (token, depth = 0) => build(BLOCKS, token, depth);
const blocks = (tokens, depth) => tokens.map((token) => block(token, depth)).filter(Boolean);
const inline = (token, depth) => build(INLINE, token, depth);

// A link that leads elsewhere; what leads nowhere safe is its text alone.
function link(address, children) {
  const url = URL.canParse(address) ? new URL(address) : null;
  if (!url || !SCHEMES.includes(url.protocol)) return make("span", children);
  return make("a", children, { href: url.href, title: url.href, target: "_blank", rel: "noopener noreferrer nofollow" });
}

// The characters that entities stand for: each alone is parsed, in a document of its own.
function decoded(text) {
  return text.replace(ENTITY, (entity) => new DOMParser().parseFromString(entity, "text/html").body.textContent);
}
