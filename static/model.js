// The page of one model.

import { copy } from "./copy.js";
import { NO_RESPONSE, add, data, fetchPage, follow, read, show, write } from "./live.js";
import { localTimes } from "./times.js";

const [first] = data.snapshots;
const root = document.getElementById("model");

function drawSegments(segments) {
  for (const [index, group] of [...root.querySelectorAll(".segments g")].entries()) {
    const [, x, width, middle, gap, number] = segments[index];
    for (const rect of group.querySelectorAll("rect")) {
      rect.setAttribute("x", `${x}%`);
      rect.setAttribute("width", rect.matches(".gap") ? gap : `${width}%`);
    }
    const text = group.querySelector("text");
    text.setAttribute("x", `${middle}%`);
    write(text, number);
  }
}

function drawSparkline({ sparkline, sparkline_label: label }) {
  const element = document.getElementById("spark");
  element.firstElementChild.setAttribute("d", sparkline);
  element.ariaLabel = label;
}

function appendToLog({ words }, isNewLoad) {
  const log = document.getElementById("log");
  if (isNewLoad) log.replaceChildren();
  if (!words.log_line || log.lastElementChild?.querySelector(".what").textContent === words.log_line) return;
  const line = document.createElement("li");
  for (const [name, text] of [["when", words.elapsed], ["what", words.log_line]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    line.append(part, " ");
  }
  log.append(line);
}

// Run the prediction without leaving the page, and show the result as the server renders it.
async function predict(event) {
  const form = event.target;
  if (!form.closest("#try")) return;
  event.preventDefault();
  const { submitter } = event;
  const body = new FormData(form, submitter);
  submitter.setAttribute("aria-busy", "true");
  let result = null;
  let failure = NO_RESPONSE;
  try {
    const text = await (await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } })).text();
    const page = new DOMParser().parseFromString(text, "text/html");
    result = page.getElementById("result");
    failure = page.querySelector("main")?.innerText ?? text;
  } catch { /* shown below */ }
  submitter.removeAttribute("aria-busy");
  document.getElementById("result").replaceChildren(...(result ? document.adoptNode(result).childNodes : [failure]));
}

// What was typed stays over a reload, and when the server's part of the page comes anew.
const KEY = `prompt of ${first.id}`;
const fields = () => [...document.querySelectorAll("#try :is(textarea, input:not([type=hidden], [type=file]))")];

function keepPrompt({ target }) {
  if (target.closest("#try")) sessionStorage.setItem(KEY, JSON.stringify(fields().map(({ value }) => value)));
}

function restorePrompt() {
  const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "[]");
  for (const [index, field] of fields().entries()) if (kept[index] !== undefined) field.value = kept[index];
}

// Replace the parts of the page that only the server can render.
let refreshTimer = 0;
function refresh() {
  clearTimeout(refreshTimer);
  refreshTimer = setTimeout(async () => {
    const own = refreshTimer;
    const page = await fetchPage();
    if (own !== refreshTimer) return; // newer parts are on their way
    for (const part of page?.querySelectorAll("[data-refresh]") || []) {
      const shown = document.getElementById(part.id);
      // What came while the page was fetched is not in it.
      if (part.dataset.refresh === "grows" && part.children.length < shown?.children.length) continue;
      if (part.id === "expected" && shown?.closest("[data-state=loading]")) continue; // it keeps its room
      shown?.replaceWith(document.adoptNode(part));
    }
    if (page) afterRefresh(read(page).snapshots[0]);
  }, 150);
}

function afterRefresh(snapshot) {
  localTimes();
  restorePrompt();
  offerChat(snapshot);
}

// The chat comes with its own modules, once it is known that the model has one: it is ready, or had one in this tab.
async function offerChat({ id, chats, task }) {
  if (!document.getElementById("chat") || !(chats || sessionStorage.getItem(`chat of ${id}`))) return;
  try {
    (await import("./chat.js")).open(task);
  } catch {
    document.getElementById("chat").hidden = true; // its modules are not there; the form for a single prompt is
  }
}

// Which copies there are, and in which states.
const copies = ({ replicas }) => replicas.map(({ node, state }) => `${node} ${state}`).join();

// Whether the next load is prepared.
function showPrepared({ prepared }) {
  const mark = document.getElementById("prepared");
  const hadFocus = mark.contains(document.activeElement);
  mark.hidden = !prepared;
  if (mark.hidden && hadFocus) root.querySelector("[data-action]:not([hidden])")?.focus({ preventScroll: true });
}

function copySnippet({ target }) {
  const button = target.closest("[data-copy]");
  if (button) copy(document.getElementById(button.dataset.copy).textContent, button);
}

root.toggleAttribute("data-copies", true); // its buttons need this script
root.addEventListener("click", copySnippet);
root.addEventListener("submit", predict);
root.addEventListener("input", keepPrompt);
restorePrompt();
offerChat(first);
add(root, first);
follow({
  request: { id: first.id, words: true },
  subscribed(snapshot) {
    show(snapshot, true);
  },
  parts: showPrepared,
  shown(snapshot, isNewState, before) {
    const { charts, words } = snapshot;
    document.title = `${words.title ? `${words.title} · ` : ""}${snapshot.id} · modelhub`;
    if (charts?.segments) drawSegments(charts.segments);
    if (charts) drawSparkline(charts);
    if (charts) showPrepared(snapshot);
    appendToLog(snapshot, before.load_id !== snapshot.load_id);
    if (snapshot.state === "failed") document.getElementById("log-section").open = true;
    const section = document.getElementById("copies");
    if (section) section.hidden = snapshot.state !== "ready";
    if (isNewState || copies(snapshot) !== copies(before)) refresh();
  },
});
