// A question and its answer in the conversation.

import { duration } from "../live.js";
import { button, make } from "./dom.js";
import { shown } from "./images.js";
import { MarkdownView } from "./markdown.js";

const OFTEN_MS = 80; // between two drawings of an answer that grows
const MOST_SHARE = 0.2; // of the time may go into drawing
const LEFT = "Broken off when the page was left";
const ENDINGS = { length: "Cut off at ", stopped: "Stopped after ", failed: "Broken off after ", left: `${LEFT}, after ` };

// What is kept of a turn: { question, images, answer, reasoning, ended, error, figures }. `ended` is the finish reason of the
// API, "stopped", "failed" or "left"; null while it is written.
export const newTurn = (question, images = []) =>
  ({ question, images, answer: "", reasoning: "", ended: null, error: "", figures: null });

export class TurnView {
  #answer = make("div", [], { className: "markdown" });
  #reasoning = make("div", [], { className: "markdown" });
  #summary = make("summary", ["Reasoning"]);
  #thoughts = make("details", [this.#summary, this.#reasoning], { className: "reasoning" });
  #status = make("p", [], { className: "hint" });
  #alert = make("p", [], { className: "alert" });
  #tools = make("div", [], { className: "tools" });
  #views = [new MarkdownView(this.#answer), new MarkdownView(this.#reasoning)];
  #pause = OFTEN_MS;
  #timer = 0;

  constructor(turn, name) {
    this.turn = turn;
    const asked = make("div", [...shown(turn.images), turn.question], { className: "question" });
    const parts = [this.#thoughts, this.#answer, this.#status, this.#alert, this.#tools];
    this.root = make("div", [
      make("article", [make("h3", ["You"]), asked], { className: "you" }),
      make("article", [make("h3", [name]), ...parts], { className: "model" }),
    ], { className: "turn" });
    this.show();
  }

  // Show the turn as it is.
  show() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    const { answer, reasoning, ended, error } = this.turn;
    const before = performance.now();
    this.root.toggleAttribute("data-running", !ended);
    this.#views[0].show(answer, Boolean(ended));
    this.#views[1].show(reasoning, Boolean(ended));
    this.#thoughts.hidden = !reasoning;
    this.#summary.textContent = reasoning && !answer && !ended ? "Reasoning…" : "Reasoning";
    this.#alert.textContent = error;
    this.#alert.hidden = !error;
    if (ended) this.status(how(this.turn));
    this.#tools.replaceChildren(...(ended ? tools(this.turn) : []));
    this.#pause = Math.max(OFTEN_MS, (performance.now() - before) / MOST_SHARE);
  }

  // Show it soon; `then` is called once it is.
  showSoon(then) {
    this.#timer ||= setTimeout(() => {
      this.show();
      then();
    }, this.#pause);
  }

  // How it has ended, for a listener: nothing where that was as it should be.
  get ending() {
    const { ended, error } = this.turn;
    return error || (ended === "stop" ? "" : how(this.turn).split(" · ")[0]);
  }

  // What is going on, or how it has ended.
  status(text) {
    this.#status.textContent = text;
    this.#status.hidden = !text;
  }
}

function tools({ answer, ended }) {
  const again = button("again", ended === "failed" ? "Try again" : "Regenerate");
  const found = [button("copy-answer", "Copy", " the answer"), again];
  if (ended === "length" && answer) found.unshift(button("continue", "Continue"));
  return answer ? found : [again];
}

// "Cut off at 60 tokens · 18.3 tokens/s · first token after 0.4 s"
function how({ ended, figures }) {
  if (!figures) return { stopped: "Stopped before the first token", left: LEFT }[ended] ?? "";
  const { tokens, isCounted, perSecond, first, wasLoaded } = figures;
  const about = isCounted ? "" : "about ";
  return [
    `${ENDINGS[ended] ?? ""}${about}${tokens} token${tokens === 1 ? "" : "s"}`,
    perSecond && `${about}${perSecond < 100 ? perSecond.toFixed(1) : Math.round(perSecond)} tokens/s`,
    `first token after ${duration(first)}${wasLoaded ? ", the load included" : ""}`,
  ].filter(Boolean).join(" · ");
}
