// Shared by the live pages. The server sends the texts: see web/pages/live.py.

import { notifyOf, offerNotices, showFavicon } from "./notices.js";

export const data = read(document); // the snapshots that the server made the page from

export function read(page) {
  return JSON.parse(page.getElementById("data").textContent);
}

// The same as modelhub/units.py: elapsed time ticks between two events.
export function duration(seconds) {
  if (seconds < 0.095) return `${Math.max(1000 * seconds, 0).toFixed(0)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

// Whether an event is old, the next one ("news"), or shows that some were missed. A snapshot that subscribe
// returned is old or news; in a paced room, where events are left out, so is each event.
export function judge(last, next, isSnapshot = false) {
  if (!last || last.epoch !== next.epoch) return last && !isSnapshot ? "missed" : "news";
  if (next.seq < last.seq || (next.seq === last.seq && !isSnapshot)) return "old";
  return isSnapshot || paced || next.seq === last.seq + 1 ? "news" : "missed";
}

// Model id -> { root, snapshot, at: when it came (ms); from, to, began, span: the animation of the bar }
const views = new Map();
const still = matchMedia("(prefers-reduced-motion: reduce)");
export const LOADING = "loading";
const READY = "ready";
const MOVING = [LOADING, "queued", "unloading"];
const UNKNOWN = "–";
export const NO_RESPONSE = "The server does not respond. Is it running?";
let live = false;
let lostAt = ""; // the time of day at which the connection was lost
let animated = false;
let paced = 0;
let onSnapshot = () => {};

export const snapshots = () => [...views.values()].map((view) => view.snapshot);

// Follow `snapshot` in `root`, which the server has rendered from it.
export function add(root, snapshot) {
  const progress = snapshot.progress || 0;
  views.set(snapshot.id, { root, snapshot, at: performance.now(), from: progress, to: progress, began: 0, span: 1 });
  animate();
}

// Stop following a model; returns whether it was followed.
export const forget = (id) => views.delete(id);

// Show a snapshot; returns "old", "news" or "missed", or "unknown" for a model that has no place on the page.
export function show(snapshot, isSnapshot) {
  const view = views.get(snapshot.id);
  if (!view) return "unknown";
  const verdict = judge(view.snapshot, snapshot, isSnapshot);
  if (verdict === "old") return verdict;
  const before = view.snapshot;
  const { state, progress, words } = snapshot;
  const isNewState = before.state !== state || before.load_id !== snapshot.load_id;
  const now = performance.now();
  const jump = before.load_id !== snapshot.load_id || state !== LOADING || document.hidden || still.matches;
  view.from = jump ? progress || 0 : barAt(view, now);
  view.to = Math.max(view.from, progress || 0);
  view.span = Math.min(Math.max(now - view.at, 50), 1000); // as long as it took the server to get here
  view.began = view.at = now;
  view.snapshot = snapshot;
  writeTexts(view.root, words);
  tick(view);
  if (isNewState || before.step !== snapshot.step) writeSteps(view.root, snapshot);
  if (before.state !== state || before.phase !== snapshot.phase) {
    write(document.getElementById("announcement"), words.announcement);
  }
  onSnapshot(snapshot, isNewState, before);
  if (before.load_id === snapshot.load_id && before.state === LOADING && isNewState) notifyOf(snapshot);
  showFavicon(snapshots().filter((one) => one.state === LOADING));
  animate();
  return verdict;
}

// The bar never passes the newest progress that the server sent, so that no later event contradicts it.
function barAt({ from, to, began, span }, now) {
  return from + (to - from) * Math.min(1, (now - began) / span);
}

// What changes between two events: the bar and the elapsed time.
function tick(view) {
  const { root, snapshot } = view;
  const now = performance.now();
  root.querySelector("progress").value = barAt(view, now);
  if (snapshot.state !== LOADING) return;
  const elapsed = snapshot.elapsed + (now - view.at) / 1000;
  write(root.querySelector("[data-text=elapsed]"), duration(elapsed));
  const running = root.querySelector(".steps [data-status=running] .time");
  if (running) write(running, duration(elapsed - snapshot.steps.reduce((sum, seconds) => sum + seconds, 0)));
}

function writeTexts(root, words) {
  for (const element of root.querySelectorAll("[data-text]")) write(element, words[element.dataset.text]);
  root.querySelector("progress").ariaValueText = words.spoken;
  root.toggleAttribute("data-stalled", Boolean(words.stalled));
}

const timeOfDay = () => new Date().toLocaleTimeString("sv");

// Without a connection, what moves is marked with the time it is of, and has no time left.
function writeStale({ root, snapshot: { state, words } }) {
  if (!MOVING.includes(state)) return;
  for (const element of root.querySelectorAll("[data-asof]")) write(element, `as of ${lostAt}`);
  for (const element of root.querySelectorAll("[data-text=left], [data-text=rate]")) write(element, UNKNOWN);
  const amount = words && words.amount !== UNKNOWN ? words.amount : "";
  for (const element of root.querySelectorAll("[data-text=line]")) write(element, amount);
}

function setStale(isStale) {
  if (isStale === Boolean(lostAt)) return;
  lostAt = isStale ? timeOfDay() : "";
  document.documentElement.toggleAttribute("data-stale", isStale);
  if (isStale) return views.forEach(writeStale);
  for (const element of document.querySelectorAll("[data-asof]")) write(element, "");
  for (const alert of document.querySelectorAll("[data-alert]")) {
    if (alert.textContent === NO_RESPONSE) alert.hidden = true;
  }
}

function writeSteps(root, { load_id, state, words }) {
  root.dataset.state = state;
  root.dataset.rank = words.rank;
  for (const element of root.querySelectorAll("[data-step]")) {
    const index = element.dataset.step - 1;
    element.dataset.status = words.steps[index];
    if (element.localName !== "li") continue;
    write(element.querySelector(".status"), words.steps[index]);
    write(element.querySelector(".time"), words.times[index]);
  }
  const fold = root.querySelector(".fold");
  if (fold) fold.open = state !== READY;
  const focused = root.querySelector("[data-action]:focus");
  for (const button of root.querySelectorAll("[data-action]")) {
    button.hidden = !words.actions.includes(button.dataset.action);
    if (button.dataset.action === "cancel") button.setAttribute("formaction", `/loads/${load_id}/cancel`);
  }
  if (focused?.hidden) root.querySelector("[data-action]:not([hidden])")?.focus({ preventScroll: true });
}

export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function animate() {
  if (!animated) requestAnimationFrame(frame);
  animated = true;
}

function frame() {
  const moving = [...views.values()].filter((view) => view.snapshot.state === LOADING);
  if (live) moving.forEach(tick); // without a connection, nothing moves
  animated = false;
  if (moving.length) animate();
}

// Buttons: the form is sent as it would be without a script, but the page stays.

// Form -> until when (ms) it ignores clicks: a second one is not meant for the button that comes next.
const ignoring = new WeakMap();

async function send(event) {
  const form = event.target;
  const button = event.submitter;
  if (form.method !== "post" || event.defaultPrevented) return;
  event.preventDefault();
  if (performance.now() < (ignoring.get(form) || 0)) return;
  await post(form, button, new FormData(form, button));
}

async function post(form, button, body) {
  const alert = form.closest("[data-state], [data-load-form]").querySelector("[data-alert]");
  ignoring.set(form, Infinity);
  alert.hidden = true;
  button.setAttribute("aria-busy", "true");
  let failure = NO_RESPONSE;
  let error;
  try {
    const url = button.getAttribute("formaction") || form.action;
    const headers = { Accept: "application/json" };
    const response = await fetch(url, { method: "POST", body, headers, redirect: "manual" });
    ({ error } = response.type === "opaqueredirect" ? {} : await response.json());
    failure = error ? `${error.message} ${error.hint}` : "";
  } catch { /* shown below */ }
  button.removeAttribute("aria-busy");
  ignoring.set(form, performance.now() + 400);
  if (error?.code === "in_use") {
    const { ask } = await import("./ask.js");
    if (!await ask(error, button)) return;
    body.set("sure", "1");
    return post(form, button, body);
  }
  write(alert, failure);
  alert.hidden = !failure;
  if (failure) return;
  const id = body.get("model").trim();
  if (!live) location.assign(/[\s,]/.test(id) ? "/" : encodeURI(`/models/${id}`));
  if ("loadForm" in form.dataset) form.reset();
}

// A page as the server renders it now; null without a response.
export async function fetchPage(url = location.href) {
  const text = await fetch(url).then((response) => response.text()).catch(() => null);
  return text && new DOMParser().parseFromString(text, "text/html");
}

// Subscribe with `request` and show what comes. `subscribed` gets the acknowledged snapshot, `unknown` one of a model
// without a place here, `shown` each that was shown, whether its state is new, and the one before. `parts` gets what
// else the page shows; `spread` is how long (ms) to wait with what all pages ask.
export async function follow({ request, subscribed, unknown = () => {}, shown, parts = () => {}, spread = () => 0 }) {
  onSnapshot = shown;
  document.addEventListener("submit", send);
  document.addEventListener("keydown", (event) => {
    // A key that is held down is one press.
    if (event.repeat && event.target.matches("button")) event.preventDefault();
  });
  offerNotices();
  const badge = document.getElementById("badge");
  const mark = (state, text) => {
    live = state === "live";
    if (live || state === "lost" || state === "ended") setStale(!live);
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
  let subscribing = false;
  const subscribe = async () => {
    if (subscribing || !socket.connected) return;
    subscribing = true;
    const ack = await socket.timeout(5000).emitWithAck("subscribe", request).catch(() => null);
    subscribing = false;
    if (!ack) return setTimeout(subscribe, 500);
    if (!ack.ok) return mark("lost", ack.error.message);
    const away = document.getElementById("away");
    write(away, ack.away || ""); // of a web process that does not hear of the hub
    away.hidden = !ack.away;
    mark(ack.away ? "lost" : "live", ack.away ? "Not live" : "Live");
    paced = ack.snapshot.period;
    subscribed(ack.snapshot);
  };
  const lost = (reason) => {
    const { state } = badge.dataset;
    if (state === "ending") mark("ended", `Server stopped at ${timeOfDay()}, waiting for it to come back`);
    else if (state !== "ended") mark("lost", `Connection lost at ${lostAt || timeOfDay()}, reconnecting`);
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1000);
  };
  socket.on("connect", subscribe);
  socket.on("connect_error", (error) => error.data ? location.reload() : lost()); // the page asks to log in
  socket.on("disconnect", lost);
  socket.on("models_changed", () => setTimeout(subscribe, spread()));
  socket.on("page_parts", parts);
  socket.on("server_stopping", ({ message }) => mark("ending", message));
  socket.onAny((name, snapshot) => {
    const verdict = snapshot.words && show(snapshot);
    if (verdict === "missed") subscribe();
    if (verdict === "unknown") unknown(snapshot);
  });
}
