// The dashboard.

import { add, data, describe, follow, fresh, read, snapshots, take } from "./live.js";

const ATTENTION = ["loading", "unloading", "queued", "failed", "cancelled", "ready", "absent"];
const list = document.getElementById("models");

function place(page, { snapshots: all }) { // a row for every model of `page` that has none here
  const known = new Set(snapshots().map((s) => s.id));
  const rows = [...page.querySelectorAll("#models > li")];
  for (const s of all.filter(({ id }) => !known.has(id))) {
    const row = rows.find(({ dataset }) => dataset.model === s.id);
    add(row, s);
    if (page !== document) put(document.adoptNode(row));
  }
}

function put(row) { // in its place among the others: moving one row costs little, sorting all of them a lot
  const rank = ({ dataset }) => ATTENTION.indexOf(dataset.state);
  const name = ({ dataset }) => dataset.model.toLowerCase();
  const isBefore = (a, b) => rank(a) - rank(b) || (name(a) < name(b) ? -1 : 1);
  const next = [...list.children].find((other) => other !== row && isBefore(row, other) < 0) ?? null;
  if (row.nextElementSibling === next) return;
  const held = document.activeElement;
  list.insertBefore(row, next);
  if (row.contains(held)) held.focus();
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
    if (isNewState) put(document.querySelector(`[data-model="${CSS.escape(s.id)}"]`));
    title();
  },
});
