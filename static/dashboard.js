// The dashboard.

import {
  LOADING, NO_RESPONSE, add, data, fetchPage, follow, forget, read, refresh, show, snapshots, write,
} from "./live.js";

const MAX_PREVIEWS = 5; // of several ids, so many are looked up
const list = document.getElementById("models");

// Add a row for every model of `page` that has none here.
function addRows(page, { snapshots: all }) {
  const known = new Set(snapshots().map(({ id }) => id));
  const rows = new Map([...page.querySelectorAll("#models > li")].map((row) => [row.dataset.model, row]));
  for (const snapshot of all.filter(({ id }) => !known.has(id))) {
    const row = rows.get(snapshot.id);
    add(row, snapshot);
    if (page === document) continue;
    list.querySelector(`[data-gone][data-model="${CSS.escape(snapshot.id)}"]`)?.remove(); // it is back
    moveToRank(document.adoptNode(row));
  }
}

// Rows do not move while the pointer or the focus is in the list: a click would hit another row's button. They are
// put in order once it has left.
const TOUCH_MS = 2000; // a finger leaves after each tap
let touchedAt = -Infinity;
const isPointed = () => list.matches(":hover") || performance.now() - touchedAt < TOUCH_MS;
const isHeld = () => isPointed() || list.contains(document.activeElement);
let waitsToSettle = false;

// Under a pointer a row does not grow or shrink either; one that was not drawn yet has no height to keep.
function hold() {
  for (const row of list.children) {
    const isDrawn = row.firstElementChild.checkVisibility({ contentVisibilityAuto: true });
    if (!row.style.height && isDrawn) row.style.height = `${row.offsetHeight}px`;
  }
}

function settle() {
  if (!isPointed()) {
    for (const row of list.children) {
      row.style.height = "";
      delete row.dataset.held;
    }
  }
  if (isHeld() || !waitsToSettle) return;
  waitsToSettle = false;
  for (const row of [...list.children]) if ("gone" in row.dataset) row.remove();
  const sorted = [...list.children].sort(compare);
  for (const [index, row] of sorted.entries()) {
    if (list.children[index] !== row) list.insertBefore(row, list.children[index]);
  }
}

list.addEventListener("pointerdown", ({ pointerType }) => {
  if (pointerType === "touch") touchedAt = performance.now();
});
list.addEventListener("pointerover", hold);
list.addEventListener("pointerleave", ({ pointerType }) => setTimeout(settle, pointerType === "touch" ? TOUCH_MS : 0));
list.addEventListener("focusout", () => setTimeout(settle));
// A finger that taps elsewhere: the list counts as hovered until then.
document.addEventListener("click", () => setTimeout(settle));

function compare(a, b) {
  const name = ({ dataset }) => dataset.model.toLowerCase();
  return a.dataset.rank - b.dataset.rank || (name(a) < name(b) ? -1 : 1);
}

// Move one row to its place among the others: that costs little, sorting all of them a lot.
function moveToRank(row) {
  if (isPointed()) row.dataset.held = ""; // what it says now has to fit
  if (isHeld()) {
    waitsToSettle = true;
    if (row.parentElement !== list) list.append(row);
    return;
  }
  const next = [...list.children].find((other) => other !== row && compare(row, other) < 0) ?? null;
  if (row.nextElementSibling === next && row.parentElement === list) return;
  list.insertBefore(row, next);
}

// Models that are no longer there: their rows go, once nobody points at the list.
function removeRows(ids) {
  for (const row of list.children) {
    if (ids.has(row.dataset.model) || !forget(row.dataset.model)) continue;
    row.dataset.gone = "";
    row.inert = waitsToSettle = true;
  }
  settle();
}

function writeTitle() {
  const loading = snapshots().filter(({ state }) => state === LOADING);
  const what = loading.length === 1 && loading[0].words ? loading[0].words.percent : `${loading.length} loading`;
  const title = loading.length ? what : readyUnseen && `Ready: ${readyUnseen}`;
  document.title = `${title ? `${title} · ` : ""}Models · modelhub`;
}

// A model that became ready while the tab was not looked at is in its title until it is.
let readyUnseen = "";
document.addEventListener("visibilitychange", () => {
  readyUnseen = "";
  writeTitle();
});

// Show a snapshot of a model that has no row yet: fetch the page, which has one.
let fetching = null;
const waiting = new Map();
function addModel(snapshot) {
  waiting.set(snapshot.id, snapshot);
  fetching ??= fetchPage().then((page) => {
    fetching = null;
    if (!page) return;
    addRows(page, read(page));
    for (const one of waiting.values()) show(one, true);
    waiting.clear();
    filter();
    writeTitle();
  });
}

const search = document.getElementById("q");
function filter() {
  const text = search.value.trim().toLowerCase();
  let count = 0;
  for (const row of list.children) {
    row.hidden = !row.dataset.model.toLowerCase().includes(text);
    count += !row.hidden;
  }
  write(document.getElementById("found"), text && `${count} of ${list.children.length} models`);
}

search.addEventListener("input", () => {
  filter();
  const text = search.value.trim();
  history.replaceState(null, "", text ? `?q=${encodeURIComponent(text)}` : "/");
});

const input = document.getElementById("load-id");
const previews = document.getElementById("previews");
const idsOf = (text) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];
let previewTimer = 0;

// What loading the model would fetch, in words.
async function previewOf(id) {
  const url = `/api/plans?model=${encodeURIComponent(id)}`;
  const preview = await fetch(url).then((response) => response.json()).catch(() => null);
  if (!preview) return NO_RESPONSE;
  return preview.error ? `${preview.error.message} ${preview.error.hint}` : `${preview.id}: ${preview.said}`;
}

function showPreviews() {
  clearTimeout(previewTimer);
  input.form.querySelector("[data-alert]").hidden = true;
  const text = input.value;
  const ids = idsOf(text);
  write(previews, ids.length ? "Looking for it…" : "");
  if (!ids.length) return;
  previewTimer = setTimeout(async () => {
    const lines = await Promise.all(ids.slice(0, MAX_PREVIEWS).map(previewOf));
    const more = ids.length - lines.length;
    if (more > 0) lines.push(`and ${more} more`);
    if (input.value === text) write(previews, lines.join("\n"));
  }, 400);
}

input.addEventListener("input", showPreviews);
input.form.addEventListener("reset", () => setTimeout(showPreviews));

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(document.getElementById(button.dataset.copy).textContent);
    button.firstChild.textContent = "Copied";
    setTimeout(() => { button.firstChild.textContent = "Copy"; }, 2000);
  });
}

let wasSubscribed = false;
addRows(document, data);
filter();
follow({
  request: { words: true },
  subscribed({ models }) {
    for (const { snapshot } of models) if (show(snapshot, true) === "unknown") addModel(snapshot);
    removeRows(new Set(models.map(({ id }) => id)));
    if (wasSubscribed) refresh(); // sizes, and what fits
    wasSubscribed = true;
    writeTitle();
  },
  unknown: addModel,
  shown({ id, state, step }, isNewState, before) {
    if (isNewState && state === "ready" && document.hidden) readyUnseen = id;
    if (isNewState || (step === 5 && before.step < 5)) refresh(); // by step 5, memory is reserved for it
    if (isNewState) moveToRank(document.querySelector(`[data-model="${CSS.escape(id)}"]`));
    writeTitle();
  },
});
