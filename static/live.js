// What every live page shares: bars, words, buttons, the connection. The server says the words (phrases.tell).

export const data = read(document); // the page's snapshots, and what else the server drew it from

export function read(page) {
  return JSON.parse(page.getElementById("data").textContent);
}

// Only what ticks between two events is put into words here, as modelhub/words.py does.
export function duration(seconds) {
  if (seconds < 0.095) return `${Math.max(1000 * seconds, 0).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

// An event is old, the next one, or shows that some were missed. What subscribe answers is old or new.
export function judge(last, next, isAnswer = false) {
  if (!last || last.epoch !== next.epoch) return last && !isAnswer ? "missed" : "news";
  if (next.seq < last.seq || (next.seq === last.seq && !isAnswer)) return "old";
  return isAnswer || next.seq === last.seq + 1 ? "news" : "missed";
}

const views = new Map(); // model id -> { root, s: its snapshot, at: when that came, from, to, began, span: the bar }
const still = matchMedia("(prefers-reduced-motion: reduce)");
let live = false;
let animated = false;
let onNews = () => {};

export const snapshots = () => [...views.values()].map((view) => view.s);

export function add(root, s) { // as the server drew it
  views.set(s.id, { root, s, at: performance.now(), from: s.progress || 0, to: s.progress || 0, began: 0, span: 1 });
  animate();
}

export function take(s, isAnswer) {
  const view = views.get(s.id);
  if (!view) return "unknown";
  const verdict = judge(view.s, s, isAnswer);
  if (verdict === "old") return verdict;
  const before = view.s;
  const now = performance.now();
  const jump = before.load_id !== s.load_id || s.state !== "loading" || document.hidden || still.matches;
  view.from = jump ? s.progress || 0 : barAt(view, now);
  view.to = Math.max(view.from, s.progress || 0);
  view.span = Math.min(Math.max(now - view.at, 50), 1000); // as long as it took the server to get here
  view.began = view.at = now;
  view.s = s;
  say(view.root, s);
  tick(view);
  const isNewState = before.state !== s.state || before.load_id !== s.load_id;
  if (isNewState || before.step !== s.step) sayStep(view.root, s);
  if (before.state !== s.state || before.phase !== s.phase) write(document.getElementById("told"), s.said.news);
  onNews(s, isNewState, before);
  animate();
  return verdict;
}

// The bar follows the newest progress that the server told, never past it: nothing can deny what it shows.
function barAt({ from, to, began, span }, now) {
  return from + (to - from) * Math.min(1, (now - began) / span);
}

function tick(view) { // what moves between two events
  const { root, s } = view;
  const now = performance.now();
  root.querySelector("progress").value = barAt(view, now);
  if (s.state !== "loading") return;
  const elapsed = s.elapsed + (now - view.at) / 1000;
  write(root.querySelector("[data-say=elapsed]"), duration(elapsed));
  const running = root.querySelector(".steps [data-is=running] .time");
  if (running) write(running, duration(elapsed - s.steps.reduce((sum, seconds) => sum + seconds, 0)));
}

function say(root, { said }) {
  for (const place of root.querySelectorAll("[data-say]")) write(place, said[place.dataset.say]);
  root.querySelector("progress").ariaValueText = said.spoken;
  root.toggleAttribute("data-stalled", Boolean(said.stalled));
}

function sayStep(root, { load_id, said }) {
  root.dataset.state = said.kind;
  root.dataset.rank = said.rank;
  for (const place of root.querySelectorAll("[data-step]")) {
    const index = place.dataset.step - 1;
    place.dataset.is = said.steps[index];
    if (place.localName !== "li") continue;
    write(place.querySelector(".is"), said.steps[index]);
    write(place.querySelector(".time"), said.times[index]);
  }
  const held = root.querySelector("[data-do]:focus");
  for (const button of root.querySelectorAll("[data-do]")) {
    button.hidden = !said.actions.includes(button.dataset.do);
    if (button.dataset.do === "cancel") button.setAttribute("formaction", `/loads/${load_id}/cancel`);
  }
  if (held?.hidden) root.querySelector("[data-do]:not([hidden])")?.focus({ preventScroll: true });
}

export function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function animate() {
  if (!animated) requestAnimationFrame(frame);
  animated = true;
}

function frame() {
  const moving = [...views.values()].filter((view) => view.s.state === "loading");
  if (live) moving.forEach(tick); // without news, nothing moves
  animated = false;
  if (moving.length) animate();
}

// Buttons: the form goes as it would without a script, only the page stays.

const deaf = new WeakMap(); // form -> until when: a quick second click is not meant for the next button

async function send(event) {
  const form = event.target;
  const button = event.submitter;
  if (form.method !== "post" || event.defaultPrevented) return;
  event.preventDefault();
  if (performance.now() < (deaf.get(form) || 0)) return;
  const body = new FormData(form, button);
  const alert = form.closest("[data-state], [data-ask]").querySelector("[data-alert]");
  deaf.set(form, Infinity);
  alert.hidden = true;
  button.setAttribute("aria-busy", "true");
  let trouble = "The server does not answer. Is it running?";
  try {
    const url = button.getAttribute("formaction") || form.action;
    const headers = { Accept: "application/json" };
    const answer = await fetch(url, { method: "POST", body, headers, redirect: "manual" });
    const { error } = answer.type === "opaqueredirect" ? {} : await answer.json();
    trouble = error ? `${error.message} ${error.hint}` : "";
  } catch { /* said below */ }
  button.removeAttribute("aria-busy");
  deaf.set(form, performance.now() + 400);
  write(alert, trouble);
  alert.hidden = !trouble;
  if (trouble) return;
  const id = body.get("model").trim();
  if (!live) location.assign(/[\s,]/.test(id) ? "/" : encodeURI(`/models/${id}`));
  if ("ask" in form.dataset) form.reset();
}

// This page as the server would make it now; null when the server does not answer.
export async function fresh() {
  const text = await fetch(location.href).then((answer) => answer.text()).catch(() => null);
  return text && new DOMParser().parseFromString(text, "text/html");
}

let wanted = 0;
export function refresh(after = () => {}) { // the parts that the server alone can say
  clearTimeout(wanted);
  wanted = setTimeout(async () => {
    const mine = wanted;
    const page = await fresh();
    if (mine !== wanted) return; // newer parts are on their way
    for (const part of page?.querySelectorAll("[data-fresh]") || []) {
      document.getElementById(part.id)?.replaceWith(document.adoptNode(part));
    }
    if (page) after(page);
  }, 150);
}

// Follows what `request` subscribes to. `answered` gets what subscribe answers; `unknown` hears of a model that
// has no place on the page, `news` of every snapshot taken, whether its state is new, and the one before.
export async function follow({ request, answered, unknown = () => {}, news }) {
  onNews = news;
  document.addEventListener("submit", send);
  document.addEventListener("keydown", (event) => { // a key held down is one press
    if (event.repeat && event.target.matches("button")) event.preventDefault();
  });
  const badge = document.getElementById("badge");
  const mark = (state, text) => {
    live = state === "live";
    badge.dataset.state = state;
    badge.hidden = false;
    write(badge, text);
  };
  mark("connecting", "Connecting");
  let io;
  try {
    ({ io } = await import("./node_modules/socket.io-client/dist/socket.io.esm.min.js"));
  } catch {
    return mark("lost", "No live updates: npm ci --prefix static was not run");
  }
  const socket = io({ transports: ["websocket", "polling"], tryAllTransports: true, reconnectionDelayMax: 2000 });
  let asking = false;
  const ask = async () => {
    if (asking || !socket.connected) return;
    asking = true;
    const answer = await socket.timeout(5000).emitWithAck("subscribe", request).catch(() => null);
    asking = false;
    if (!answer) return setTimeout(ask, 500);
    if (!answer.ok) return mark("lost", answer.error.message);
    mark("live", "Live");
    answered(answer.snapshot);
  };
  const lost = (reason) => {
    const { state } = badge.dataset;
    if (state === "ending") mark("ended", "Server stopped, waiting for it to come back");
    else if (state !== "ended") mark("lost", "Connection lost, reconnecting");
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1000);
  };
  socket.on("connect", ask);
  socket.on("connect_error", lost);
  socket.on("disconnect", lost);
  socket.on("server_stopping", ({ message }) => mark("ending", message));
  socket.onAny((name, s) => {
    const verdict = s.said && take(s);
    if (verdict === "missed") ask();
    if (verdict === "unknown") unknown(s);
  });
}
