// The dashboard.

import { LOADING, NO_RESPONSE, add, data, fetchPage, follow, read, refresh, show, snapshots, write } from "./live.js";

const MAX_PREVIEWS = 5; // of several ids, so many are looked up
const list = document.getElementById("models");

// Add a row for every model of `page` that has none here.
function addRows(page, { snapshots: all }) {
  const known = new Set(snapshots().map(({ id }) => id));
  const rows = new Map([...page.querySelectorAll("#models > li")].map((row) => [row.dataset.model, row]));
  for (const snapshot of all.filter(({ id }) => !known.has(id))) {
    const row = rows.get(snapshot.id);
    add(row, snapshot);
    if (page !== document) moveToRank(document.adoptNode(row));
  }
}

// Move one row to its place among the others: that costs little, sorting all of them a lot.
function moveToRank(row) {
  const name = ({ dataset }) => dataset.model.toLowerCase();
  const isBefore = (a, b) => a.dataset.rank - b.dataset.rank || (name(a) < name(b) ? -1 : 1);
  const next = [...list.children].find((other) => other !== row && isBefore(row, other) < 0) ?? null;
  if (row.nextElementSibling === next && row.parentElement === list) return;
  const focused = document.activeElement;
  list.insertBefore(row, next);
  if (row.contains(focused)) focused.focus();
}

function writeTitle() {
  const loading = snapshots().filter(({ state }) => state === LOADING);
  const what = loading.length === 1 && loading[0].words ? loading[0].words.percent : `${loading.length} loading`;
  document.title = `${loading.length ? `${what} · ` : ""}Models · modelhub`;
}

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
  const text = input.value;
  const ids = idsOf(text);
  write(previews, ids.length ? "Looking for it…" : "");
  if (!ids.length) return;
  previewTimer = setTimeout(async () => {
    const lines = await Promise.all(ids.slice(0, MAX_PREVIEWS).map(previewOf));
    if (input.value === text) write(previews, lines.join("\n"));
  }, 400);
}

input.addEventListener("input", showPreviews);
input.form.addEventListener("reset", () => setTimeout(showPreviews));

addRows(document, data);
filter();
follow({
  request: { words: true },
  subscribed({ models }) {
    for (const { snapshot } of models) if (show(snapshot, true) === "unknown") addModel(snapshot);
    writeTitle();
  },
  unknown: addModel,
  shown({ id, step }, isNewState, before) {
    if (isNewState || (step === 5 && before.step < 5)) refresh(); // by step 5, memory is reserved for it
    if (isNewState) moveToRank(document.querySelector(`[data-model="${CSS.escape(id)}"]`));
    writeTitle();
  },
});
