// What every page shares.

const UNITS = ["B", "kB", "MB", "GB", "TB", "PB"];
export const data = read(globalThis.document); // the page's snapshots, and the words for what they name
const { states: STATES, phases: PHASES, askers: ASKERS } = data.words;

export function read(page) {
  return JSON.parse(page.getElementById("data").textContent);
}

// Words as modelhub/words.py and phrases.py have them.

function fixed(value, digits) { // as Python rounds: a tie goes to the even digit
  if (digits) return (value * 4 % 4 === 1 ? value - 0.05 : value).toFixed(1);
  return (value % 1 === 0.5 ? 2 * Math.round(value / 2) : value).toFixed(0);
}

export function size(bytes) {
  if (bytes == null) return "unknown";
  let unit = 0;
  for (; Math.abs(bytes) >= 999.5 && unit < UNITS.length - 1; unit += 1) bytes /= 1000;
  return `${fixed(bytes, unit < 2 || bytes >= 99.95 ? 0 : 1)} ${UNITS[unit]}`;
}

export function duration(seconds) {
  if (seconds == null) return "unknown";
  if (seconds < 9.95) return `${fixed(Math.max(seconds, 0), 1)} s`;
  const whole = Number(fixed(seconds, 0));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor(whole % 3600 / 60)} min`;
}

function amount(done, total, unit) {
  if (done == null) return "";
  if (unit !== "bytes") return total == null ? `${done} ${unit} so far` : `${done} of ${total} ${unit}`;
  if (total == null) return `${size(done)} so far`;
  const [value, small] = size(done).split(" ");
  const [whole, large] = size(total).split(" ");
  return `${small === large ? value : size(done)} of ${whole} ${large}`;
}

function timeLeft(seconds) {
  if (seconds == null) return "time left not known yet";
  if (seconds <= 1) return "about 1 s left";
  const step = seconds <= 10 ? 1 : 5;
  if (seconds <= 95) return `about ${Math.ceil(seconds / step) * step} s left`;
  return seconds <= 3600 ? `about ${Math.ceil(seconds / 60)} min left` : `about ${duration(seconds)} left`;
}

function headline(s) {
  return {
    queued: s.queue_position > 1 ? `Number ${s.queue_position} in line` : "Next in line",
    loading: s.message || "Starting",
    ready: "Ready to use",
    failed: s.error ? s.error.message : "The load failed.",
    cancelled: `Cancelled ${ASKERS[s.by] || ""}`.trim(),
    unloading: "Leaving memory",
  }[s.state] || "Not in memory";
}

function line(s) {
  if (s.state === "queued") return "It starts by itself when its turn comes.";
  if (s.state === "failed") return s.error ? s.error.hint : "";
  if (s.state === "cancelled") {
    return s.step ? `At step ${s.step} of 9, after ${duration(s.elapsed)}.` : "It had not begun.";
  }
  if (s.state === "ready") return join([`in ${duration(s.seconds)}`, size(s.bytes), s.device, s.dtype], " · ");
  if (s.state !== "absent" || s.freed == null) return "";
  const around = `${size(s.memory_before)} before, ${size(s.memory_after)} after`;
  return `Unloaded ${ASKERS[s.by] || ""}: ${size(s.freed)} freed (${around}).`;
}

function join(parts, by) {
  return parts.filter(Boolean).join(by);
}

export function describe(s) {
  const active = s.state === "loading";
  const counted = active ? amount(s.done, s.size, s.unit) : "";
  const pace = active && s.rate != null ? `${size(s.rate)}/s` : "";
  const left = active ? timeLeft(s.eta) : "";
  const percent = active && s.progress != null ? `${Math.min(Math.floor(s.progress * 100), 99)}%` : "";
  const step = active && s.step ? `Step ${s.step} of 9` : "";
  const silent = active && s.stalled_for != null ? duration(s.stalled_for) : "";
  return {
    state: STATES[s.state],
    headline: headline(s),
    percent,
    step,
    line: active ? join([counted, pace, left], " · ") : line(s),
    stalled: silent && `Nothing new for ${silent}. It may be a slow disk or network; the load goes on.`,
    amount: counted || "–",
    rate: pace || "–",
    elapsed: s.elapsed == null ? "–" : duration(s.elapsed),
    left: left.replace(/^time left /, "").replace(/ left$/, "") || "–",
    detail: (active && s.detail) || "",
    spoken: join([percent, step, active && s.message, counted, left], ", ") || STATES[s.state],
    code: s.error ? s.error.code : "",
  };
}

export function stepStates(s) {
  const numbers = [1, 2, 3, 4, 5, 6, 7, 8, 9];
  if (s.state === "ready" || s.state === "unloading") return numbers.map(() => "done");
  if (s.step == null) return numbers.map(() => (s.state === "queued" ? "waiting" : ""));
  const here = { loading: "running", failed: "failed", cancelled: "stopped" }[s.state] || "";
  return numbers.map((n) => (n < s.step ? "done" : n === s.step ? here : "waiting"));
}

export function stepTimes(s) {
  const times = [...s.steps];
  if (s.state === "loading" && s.step) times[s.step - 1] = s.elapsed - times.reduce((sum, t) => sum + (t || 0), 0);
  return times.map((t) => (t == null ? "–" : duration(t)));
}

// Whether an event is old, the next one, or shows that some were missed.

export function judge(last, next, isAnswer = false) {
  if (!last || last.epoch !== next.epoch) return last && !isAnswer ? "missed" : "news";
  if (next.seq < last.seq || (next.seq === last.seq && !isAnswer)) return "old";
  return isAnswer || next.seq === last.seq + 1 ? "news" : "missed";
}

const views = new Map(); // model id -> { root, s: its snapshot, at: when that came, from, to, began, span: the bar }
const still = globalThis.matchMedia?.("(prefers-reduced-motion: reduce)");
let live = false;
let animated = false;
let onNews = () => {};

export const snapshots = () => [...views.values()].map((view) => view.s);

export function add(root, s) { // the server has rendered all that it shows so far
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
  const jump = before.load_id !== s.load_id || s.state !== "loading" || document.hidden || still?.matches;
  view.from = jump ? s.progress || 0 : barAt(view, now);
  view.to = Math.max(view.from, s.progress || 0);
  view.span = Math.min(Math.max(now - view.at, 50), 1000); // as long as it took the server to get here
  view.began = view.at = now;
  view.s = s;
  show(view, before.state !== s.state || before.load_id !== s.load_id || before.step !== s.step);
  if (before.state !== s.state || before.phase !== s.phase) tell(s);
  onNews(s, before.state !== s.state || before.load_id !== s.load_id);
  animate();
  return verdict;
}

// The bar follows the newest progress that was told, never past it.
function barAt({ from, to, began, span }, now) {
  return from + (to - from) * Math.min(1, (now - began) / span);
}

function show(view, isNewStep) {
  const { root, s } = view;
  const now = performance.now();
  const since = s.state === "loading" ? (now - view.at) / 1000 : 0;
  const stalled = s.stalled_for == null ? null : s.stalled_for + since;
  const current = { ...s, elapsed: s.elapsed == null ? null : s.elapsed + since, stalled_for: stalled };
  const said = describe(current);
  for (const place of root.querySelectorAll("[data-say]")) write(place, said[place.dataset.say]);
  const bar = root.querySelector("progress");
  bar.value = barAt(view, now);
  if (bar.ariaValueText !== said.spoken) bar.ariaValueText = said.spoken;
  const running = root.querySelector(".steps [data-is=running] .time");
  if (running) write(running, stepTimes(current)[s.step - 1]);
  root.toggleAttribute("data-stalled", Boolean(said.stalled));
  if (isNewStep) showStep(root, s);
}

function showStep(root, s) {
  root.dataset.state = s.state;
  const states = stepStates(s);
  const times = stepTimes(s);
  for (const place of root.querySelectorAll("[data-step]")) {
    const index = place.dataset.step - 1;
    place.dataset.is = states[index];
    if (place.localName !== "li") continue;
    write(place.querySelector(".is"), states[index]);
    write(place.querySelector(".time"), times[index]);
  }
  const shown = {
    load: s.state === "absent" || s.state === "cancelled",
    retry: s.state === "failed",
    force: s.state === "failed" && s.error?.code === "no_memory",
    cancel: s.state === "queued" || s.state === "loading",
    unload: s.state === "ready",
  };
  const held = root.querySelector("[data-do]:focus");
  for (const button of root.querySelectorAll("[data-do]")) {
    button.hidden = !shown[button.dataset.do];
    if (button.dataset.do === "cancel") button.setAttribute("formaction", `/loads/${s.load_id}/cancel`);
  }
  if (held?.hidden) root.querySelector("[data-do]:not([hidden])")?.focus({ preventScroll: true });
}

function write(place, text) {
  if (place.textContent !== text) place.textContent = text;
}

function tell(s) { // each phase once
  const what = s.state === "loading" ? PHASES[s.phase] || "" : headline(s);
  if (what) write(document.getElementById("told"), `${s.id}: ${what}`);
}

function animate() {
  if (!animated) requestAnimationFrame(frame);
  animated = true;
}

function frame() {
  const moving = [...views.values()].filter((view) => view.s.state === "loading");
  for (const view of live ? moving : []) show(view, false); // without news, nothing moves
  animated = false;
  if (moving.length) animate();
}

// The form goes as without a script, only the page stays.

const deaf = new WeakMap(); // form -> until when: a quick second click is not meant for the next button

async function send(event) {
  const form = event.target;
  const button = event.submitter;
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
  if (!trouble && !live) location.assign(encodeURI(`/models/${body.get("model")}`));
  if (!trouble && "ask" in form.dataset) form.reset();
}

// The page as it would be now, or null.
export async function fresh() {
  const text = await fetch(location.href).then((answer) => answer.text()).catch(() => null);
  return text && new DOMParser().parseFromString(text, "text/html");
}

// `answered` gets what subscribing to `request` answers, `unknown` a snapshot that has no place on the page,
// `news` every one taken.
export async function follow({ request, answered, unknown, news }) {
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
    mark("lost", "Connection lost, reconnecting");
    if (reason === "io server disconnect") setTimeout(() => socket.connect(), 1000);
  };
  socket.on("connect", ask);
  socket.on("connect_error", lost);
  socket.on("disconnect", lost);
  socket.onAny((name, s) => {
    const verdict = take(s);
    if (verdict === "missed") ask();
    if (verdict === "unknown") unknown(s);
  });
}
