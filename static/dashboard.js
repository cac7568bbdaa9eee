// The dashboard.

import { add, data, describe, follow, fresh, read, snapshots, take } from "./live.js";

const ATTENTION = ["loading", "unloading", "queued", "failed", "cancelled", "ready", "absent"];
const list = document.getElementById("models");

function place(page, { snapshots: all }) { // a row for every model of `page` that has none here
  const known = new Set(snapshots().map((s) => s.id));
  const rows = [...page.querySelectorAll("#models > li")];
  for (const s of all.filter(({ id }) => !known.has(id))) {
    const row = rows.find(({ dataset }) => dataset.model === s.id);
    if (page !== document) list.append(document.adoptNode(row));
    add(row, s);
  }
}

function sort() {
  const rows = [...list.children];
  const rank = (row) => ATTENTION.indexOf(row.dataset.state);
  const name = (row) => row.dataset.model.toLowerCase();
  const sorted = rows.toSorted((a, b) => rank(a) - rank(b) || (name(a) < name(b) ? -1 : 1));
  if (sorted.every((row, index) => row === rows[index])) return;
  const held = document.activeElement;
  list.append(...sorted);
  if (list.contains(held)) held.focus();
}

function title() {
  const loading = snapshots().filter((s) => s.state === "loading");
  const what = loading.length === 1 ? describe(loading[0]).percent : `${loading.length} loading`;
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
    sort();
    title();
  });
}

place(document, data);
title();
follow({
  request: {},
  answered({ models }) {
    for (const { snapshot: s } of models) if (take(s, true) === "unknown") adopt(s);
  },
  unknown: adopt,
  news(s, isNewState) {
    if (isNewState) sort();
    title();
  },
});
