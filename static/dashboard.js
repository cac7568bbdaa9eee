// The dashboard.

import { add, data, follow, fresh, read, refresh, snapshots, take, write } from "./live.js";

const PLANNED = 5; // so many of several ids are looked up
const list = document.getElementById("models");

function place(page, { snapshots: all }) { // a row for every model of `page` that has none here
  const known = new Set(snapshots().map((s) => s.id));
  const rows = new Map([...page.querySelectorAll("#models > li")].map((row) => [row.dataset.model, row]));
  for (const s of all.filter(({ id }) => !known.has(id))) {
    const row = rows.get(s.id);
    add(row, s);
    if (page !== document) put(document.adoptNode(row));
  }
}

function put(row) { // in its place among the others: moving one row costs little, sorting all of them a lot
  const name = ({ dataset }) => dataset.model.toLowerCase();
  const isBefore = (a, b) => a.dataset.rank - b.dataset.rank || (name(a) < name(b) ? -1 : 1);
  const next = [...list.children].find((other) => other !== row && isBefore(row, other) < 0) ?? null;
  if (row.nextElementSibling === next && row.parentElement === list) return;
  const held = document.activeElement;
  list.insertBefore(row, next);
  if (row.contains(held)) held.focus();
}

function title() {
  const loading = snapshots().filter((s) => s.state === "loading");
  const what = loading.length === 1 && loading[0].said ? loading[0].said.percent : `${loading.length} loading`;
  document.title = `${loading.length ? `${what} · ` : ""}Models · modelhub`;
}

let adopting = null;
const later = new Map();
function adopt(s) {
  later.set(s.id, s);
  adopting ??= fresh().then((page) => {
    adopting = null;
    if (!page) return;
    place(page, read(page));
    for (const s of later.values()) take(s, true);
    later.clear();
    filter();
    title();
  });
}

const search = document.getElementById("q");
function filter() {
  const wanted = search.value.trim().toLowerCase();
  let count = 0;
  for (const row of list.children) {
    row.hidden = !row.dataset.model.toLowerCase().includes(wanted);
    count += !row.hidden;
  }
  write(document.getElementById("found"), wanted && `${count} of ${list.children.length} models`);
}

search.addEventListener("input", () => {
  filter();
  const wanted = search.value.trim();
  history.replaceState(null, "", wanted ? `?q=${encodeURIComponent(wanted)}` : "/");
});

const ask = document.getElementById("ask");
const plan = document.getElementById("plan");
const idsOf = (text) => [...new Set(text.split(/[\s,]+/).filter(Boolean))];
let asking = 0;

async function planOf(id) { // what loading it would fetch, in words
  const url = `/api/plans?model=${encodeURIComponent(id)}`;
  const answer = await fetch(url).then((response) => response.json()).catch(() => null);
  if (!answer) return "The server does not answer. Is it running?";
  return answer.error ? `${answer.error.message} ${answer.error.hint}` : `${id}: ${answer.said}`;
}

function preview() {
  clearTimeout(asking);
  const text = ask.value;
  const ids = idsOf(text);
  write(plan, ids.length ? "Looking for it…" : "");
  if (!ids.length) return;
  asking = setTimeout(async () => {
    const lines = await Promise.all(ids.slice(0, PLANNED).map(planOf));
    if (ask.value === text) write(plan, lines.join("\n"));
  }, 400);
}

ask.addEventListener("input", preview);
ask.form.addEventListener("reset", () => setTimeout(preview));

place(document, data);
filter();
follow({
  request: { words: true },
  answered({ models }) {
    for (const { snapshot: s } of models) if (take(s, true) === "unknown") adopt(s);
    title();
  },
  unknown: adopt,
  news(s, isNewState, before) {
    if (isNewState || (s.step === 5 && before.step < 5)) refresh(); // by step 5, its need is reserved
    if (isNewState) put(document.querySelector(`[data-model="${CSS.escape(s.id)}"]`));
    title();
  },
});
