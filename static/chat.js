// The chat on the page of a model: a conversation over POST /v1/chat/completions, as any client has one.

import { Clock } from "./chat/figures.js";
import { Following, stay } from "./chat/following.js";
import { Images } from "./chat/images.js";
import { Speech } from "./chat/speech.js";
import { keep, kept } from "./chat/store.js";
import { answerOf } from "./chat/stream.js";
import { TurnView, newTurn } from "./chat/turn.js";
import { copy } from "./copy.js";

const DOUBLE_MS = 400; // a second click so soon is not meant for the button that has become Stop
const KEEP_MS = 1000;
const WAITING = "Waiting for the first token…";

const root = document.getElementById("chat");
const id = root.dataset.with;
const log = root.querySelector(".conversation");
const form = root.querySelector("form");
const [text, send] = [form.elements.text, form.elements.send];
const following = new Following(log, root.querySelector("[data-chat=newest]"));
const images = new Images(root.querySelector(".images"));
const speech = new Speech(root.querySelector(".spoken"));
const views = [];
let running = null; // { controller, began }
let keepTimer = 0;

// Settings: those that are empty are as the model's own say.

const NUMBERS = ["temperature", "top_p", "max_tokens", "seed"];
const settings = () => Object.fromEntries(["system", ...NUMBERS].map((name) => [name, form.elements[name].value.trim()]));

function restore() {
  const { turns = [], settings: values = {} } = kept(id) ?? {};
  for (const [name, value] of Object.entries(values)) if (form.elements[name]) form.elements[name].value = value;
  for (const turn of turns) add({ ...turn, ended: turn.ended ?? "left" });
}

function keepAll() {
  clearTimeout(keepTimer);
  keepTimer = 0;
  const areAllKept = keep(id, { turns: views.map(({ turn }) => turn), settings: settings() });
  root.querySelector(".not-kept").hidden = areAllKept;
}

const keepSoon = () => (keepTimer ||= setTimeout(keepAll, KEEP_MS));

// The conversation

function add(turn) {
  const view = new TurnView(turn, id.split("/").pop());
  views.push(view);
  log.append(view.root);
  return view;
}

// The messages of a request. A question that has no answer is left out, since most models expect one after each.
function messages(last) {
  const { system } = settings();
  const found = system ? [{ role: "system", content: system }] : [];
  for (const { turn } of views) {
    if (turn !== last && !turn.answer) continue;
    const seen = turn.images.map((url) => ({ type: "image_url", image_url: { url } }));
    const said = { type: "text", text: turn.question };
    found.push({ role: "user", content: seen.length ? [...seen, said] : turn.question });
    if (turn.answer) found.push({ role: "assistant", content: turn.answer });
  }
  return found;
}

function request(turn) {
  const chosen = NUMBERS.map((name) => [name, form.elements[name]]).filter(([, field]) => field.value !== "");
  const numbers = Object.fromEntries(chosen.map(([name, field]) => [name, field.valueAsNumber]));
  const goesOn = turn.answer ? { continue_final_message: true, add_generation_prompt: false } : {};
  return { model: id, messages: messages(turn), ...numbers, ...goesOn };
}

// Have the model write the answer of a turn, or go on with it.
async function run(view) {
  const { turn } = view;
  const clock = new Clock();
  const body = request(turn);
  const controller = new AbortController();
  running = { controller, began: performance.now() };
  Object.assign(turn, { ended: null, error: "", figures: null });
  speech.begin(turn.answer.length);
  draw();
  view.show();
  view.status(WAITING);
  following.resume();
  form.scrollIntoView({ block: "nearest" });
  let end = {};
  try {
    for await (const part of answerOf(body, controller.signal)) {
      if ("comment" in part) tell(view, clock, part.comment);
      else end = take(view, clock, part) ?? end;
    }
    turn.ended = end.choices?.[0].finish_reason ?? "stop";
  } catch (error) {
    turn.ended = error.name === "AbortError" ? "stopped" : "failed";
    turn.error = turn.ended === "failed" ? error.message : "";
  }
  turn.figures = clock.figures(end);
  running = null;
  finish(view);
}

// What the server says while nothing comes: "loading 41%, about 3 s left", or just "waiting".
function tell(view, clock, comment) {
  if (clock.hasBegun) return;
  if (comment === "waiting") return view.status(WAITING);
  if (!clock.wasLoaded) speech.say("The model is loading.");
  clock.wasLoaded = true;
  view.status(comment[0].toUpperCase() + comment.slice(1));
}

// Take a chunk in; returns it where it is the one that ends the answer.
function take(view, clock, chunk) {
  const { turn } = view;
  const [choice] = chunk.choices ?? [];
  const { content, reasoning_content: reasoning } = choice?.delta ?? {};
  if (content || reasoning) {
    clock.piece();
    view.status("");
    turn.answer += content ?? "";
    turn.reasoning += reasoning ?? "";
    speech.follow(turn.answer);
    view.showSoon(() => following.follow());
    keepSoon();
  }
  return choice?.finish_reason ? chunk : null;
}

function finish(view) {
  const { turn } = view;
  view.show();
  following.follow();
  speech.follow(turn.answer, true);
  if (view.ending) speech.say(view.ending);
  draw();
  keepAll();
}

// What the page's buttons are called, and whether they are there.
function draw() {
  send.textContent = running ? "Stop" : "Send";
  send.classList.toggle("main", !running);
  root.querySelector("[data-chat=new]").hidden = !views.length || Boolean(running);
  root.querySelector(".first-words").hidden = Boolean(views.length);
}

const stop = () => running?.controller.abort();

const ACTIONS = {
  again({ turn }) {
    Object.assign(turn, newTurn(turn.question, turn.images));
    run(views.at(-1));
  },
  continue() {
    run(views.at(-1));
  },
  "copy-answer": ({ turn }, button) => tellCopied(turn.answer, button),
  "copy-code": (_, button) => tellCopied(button.closest(".code-block").querySelector("code").textContent, button),
  "add-images": () => form.elements.files.click(),
  "remove-image": (_, button) => images.remove(Number(button.dataset.index)),
  newest() {
    following.resume();
    log.focus({ preventScroll: true });
  },
  new() {
    for (const { root: shown } of views.splice(0)) shown.remove();
    draw();
    keepAll();
    text.focus();
  },
};

async function tellCopied(copied, button) {
  await copy(copied, button);
  speech.say("Copied.");
}

function ask(event) {
  event.preventDefault();
  if (running) {
    if (event.submitter === send && performance.now() > running.began + DOUBLE_MS) stop();
    return;
  }
  const question = text.value.trim();
  if (!question) return;
  text.value = "";
  run(add(newTurn(question, images.take())));
}

function press(event) {
  if (event.isComposing) return; // the key is for the input method
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
  if (event.target !== text || event.key !== "Enter" || event.shiftKey) return;
  event.preventDefault();
  if (!running) form.requestSubmit(send);
}

function click({ target }) {
  const button = target.closest("[data-chat]");
  const view = views.find(({ root: shown }) => shown.contains(button));
  if (!button || (running && ["again", "continue"].includes(button.dataset.chat))) return;
  ACTIONS[button.dataset.chat](view, button);
  if (!button.isConnected) text.focus({ preventScroll: true });
}

async function addImages(files) {
  if (!files.length) return;
  root.querySelector(".not-read").hidden = await images.add(files);
}

// Show the chat with a model of this task, where it is known.
export function open(task) {
  if (send.disabled) {
    root.hidden = send.disabled = false;
    following.resume();
  }
  if (task === "image-text-to-text") root.querySelector("[data-chat=add-images]").hidden = false;
}

restore();
draw();
stay(root, document.getElementById("load"));
form.addEventListener("submit", ask);
form.addEventListener("change", keepSoon);
form.addEventListener("invalid", () => (form.querySelector("details").open = true), true); // so that it is seen
document.addEventListener("keydown", press);
root.addEventListener("click", click);
form.elements.files.addEventListener("change", async ({ target }) => {
  await addImages(target.files);
  target.value = "";
});
text.addEventListener("paste", ({ clipboardData: { files } }) => {
  if (!root.querySelector("[data-chat=add-images]").hidden) addImages([...files]);
});
addEventListener("pagehide", keepAll);
