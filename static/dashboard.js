// The dashboard.

import {
  LOADING, NO_RESPONSE, add, data, fetchPage, follow, forget, read, show, snapshots, write,
} from "./live.js";

const byId = (id) => document.getElementById(id);
const list = byId("models");
const search = byId("q");
let { version } = data; // of the list
let watchers = 1;
const spread = () => 40 * Math.random() * watchers;
const rowOf = (id, top = list) => top.querySelector(`[data-model="${CSS.escape(id)}"]`);
const matches = (id) => id.toLowerCase().includes(search.value.trim().toLowerCase());

// Take over from a fetched page the rows that are not here, or are newer there.
function addRows(page) {
  for (const snapshot of read(page).snapshots) {
    const { id, epoch, seq } = snapshot;
    const row = rowOf(id, page);
    const shown = rowOf(id);
    const before = snapshots().find((one) => one.id === id);
    if (before?.epoch === epoch && before.seq >= seq) {
      for (const part of [".about", ".need", ".prepared"]) shown.querySelector(part).replaceWith(row.querySelector(part));
    } else {
      add(row, snapshot);
      shown?.replaceWith(row);
      moveToRank(row);
    }
  }
}

// The list is another: fetch this page.
async function refetch() {
  const url = location.href;
  const page = await fetchPage();
  if (!page || url !== location.href) return;
  addRows(page);
  const fetched = read(page);
  ({ version } = fetched);
  removeRows(new Set(fetched.snapshots.map(({ id }) => id)));
  for (const row of list.children) row.hidden = false;
  for (const id of ["found", "pager", "down"]) byId(id).replaceWith(page.getElementById(id));
  writeTitle();
}

// Rows stay while pointer or focus is in the list, or a click would hit another row's button.
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
  for (const [index, row] of [...list.children].sort(compare).entries()) {
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

// Move one row to its place: sorting all of them costs a lot.
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

// The rows of models that are gone go once nobody points at the list.
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
  const what = (loading.length === 1 && loading[0].words?.percent) || `${loading.length} loading`;
  const title = loading.length ? what : readyUnseen && `Ready: ${readyUnseen}`;
  document.title = `${title ? `${title} · ` : ""}Models · modelhub`;
}

// A model that became ready unseen is in the tab's title until it is seen.
let readyUnseen = "";
document.addEventListener("visibilitychange", () => {
  readyUnseen = "";
  writeTitle();
});

// A model without a row: fill a blank one in. What is absent stays on its page.
function addModel(snapshot) {
  const { id, state } = snapshot;
  if (state === "absent" || !matches(id) || new URLSearchParams(location.search).get("page") > 1) return;
  const row = byId("row").content.firstElementChild.cloneNode(true);
  const at = id.lastIndexOf("/") + 1;
  for (const element of [row, ...row.querySelectorAll("*")]) {
    for (const part of [...element.attributes, ...element.childNodes]) {
      part.nodeValue = part.nodeValue?.replaceAll("ROW-ORG/", id.slice(0, at)).replaceAll("ROW-NAME", id.slice(at));
    }
  }
  rowOf(id)?.remove(); // it was gone
  list.append(row);
  add(row, { ...snapshot, seq: -1, state: "" });
  show(snapshot, true);
}

// The server finds what is not shown.
let searchTimer;
search.addEventListener("input", () => {
  for (const row of list.children) row.hidden = !matches(row.dataset.model);
  const text = search.value.trim();
  history.replaceState(null, "", text ? `?q=${encodeURIComponent(text)}` : "/");
  clearTimeout(searchTimer);
  searchTimer = setTimeout(refetch, 200);
});

function draw(parent, name, items) {
  parent.replaceChildren(...items.map(({ text = "", ...attributes }) => {
    const element = document.createElementNS(parent.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    return element;
  }));
}

// The memory, the nodes, what each model needs, and which are prepared.
function showParts({ memory, nodes, free, lack, rows, prepared, watchers: count }) {
  watchers = count;
  let end = 0;
  draw(document.querySelector(".strip"), "rect", memory.map(([kind, share]) => {
    end += 100 * share;
    return { class: kind, x: `${end - 100 * share}%`, width: `${100 * share}%`, height: 10 };
  }));
  draw(document.querySelector(".legend"), "li", memory.map(([kind, , text]) => ({ class: kind, text })));
  draw(byId("nodes"), "li", nodes);
  for (const row of list.children) {
    const need = row.querySelector(".need");
    row.querySelector(".prepared").hidden = !prepared.includes(row.dataset.model);
    const own = rows[row.dataset.model];
    if (own) {
      write(row.querySelector(".about"), own.about);
      write(need, own.need);
      need.dataset.size = own.need_bytes ?? "";
    }
    const { size } = need.dataset;
    if (!size) continue;
    need.dataset.fits = size > free ? "no" : "";
    write(need, `${need.textContent.split(",")[0]}, ${size > free ? lack : "fits"}`);
  }
}

const input = byId("load-id");
const choices = input.form.querySelectorAll("select");
const previews = byId("previews");
let previewTimer;

// What loading the model would fetch, in words.
async function previewOf(id) {
  const query = new URLSearchParams({ model: id });
  for (const { name, value } of choices) query.set(name, value);
  const preview = await fetch(`/api/plans?${query}`).then((response) => response.json()).catch(() => null);
  if (!preview) return NO_RESPONSE;
  return preview.error ? `${preview.error.message} ${preview.error.hint}` : `${preview.id}: ${preview.said}`;
}

function showPreviews() {
  clearTimeout(previewTimer);
  input.form.querySelector("[data-alert]").hidden = true;
  const text = input.value;
  const ids = [...new Set(text.split(/[\s,]+/).filter(Boolean))];
  write(previews, ids.length ? "Looking for it…" : "");
  if (!ids.length) return;
  previewTimer = setTimeout(async () => {
    const lines = await Promise.all(ids.slice(0, 5).map(previewOf));
    const more = ids.length - lines.length;
    if (more > 0) lines.push(`and ${more} more`);
    if (input.value === text) write(previews, lines.join("\n"));
  }, 400);
}

input.addEventListener("input", showPreviews);
for (const choice of choices) choice.onchange = showPreviews;
input.form.addEventListener("reset", () => setTimeout(showPreviews));

for (const button of document.querySelectorAll("[data-copy]")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(byId(button.dataset.copy).textContent);
    write(button.firstChild, "Copied");
    setTimeout(write, 2000, button.firstChild, "Copy");
  });
}

for (const snapshot of data.snapshots) add(rowOf(snapshot.id), snapshot);
follow({
  request: { words: true },
  subscribed({ version: newest, models, parts }) {
    showParts(parts);
    for (const { snapshot } of models) if (show(snapshot, true) === "unknown") addModel(snapshot);
    const ids = new Set(models.map(({ id }) => id));
    const isOther = ({ id, state, load_id: load }) => !ids.has(id) && (state !== "absent" || load);
    if (newest !== version || snapshots().some(isOther)) setTimeout(refetch, spread());
    writeTitle();
  },
  unknown: addModel,
  parts: showParts,
  spread,
  shown({ id, state }, isNewState) {
    if (isNewState && state === "ready" && document.hidden) readyUnseen = id;
    if (isNewState) moveToRank(rowOf(id));
    writeTitle();
  },
});
