// The page of one model.

import { add, data, follow, refresh, take, write } from "./live.js";

const [first] = data.snapshots;
const root = document.getElementById("model");
const WIDTH = 100; // of the sparkline, and its height: as modelhub/drawing.py has them
const HEIGHT = 24;

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.title = time.dateTime;
    time.textContent = new Date(time.dateTime).toLocaleString("sv"); // as in 2026-11-23 04:50:23
  }
}

function drawSegments(shares) {
  let x = 0;
  for (const [index, part] of [...root.querySelectorAll(".segments g")].entries()) {
    const share = shares[index];
    for (const rect of part.querySelectorAll("rect")) {
      rect.setAttribute("x", `${100 * x}%`);
      if (rect.matches(".gap")) rect.setAttribute("width", index === 0 || share < 0.01 ? 0 : 2);
      else rect.setAttribute("width", `${100 * share}%`);
    }
    const number = part.querySelector("text");
    number.setAttribute("x", `${100 * (x + share / 2)}%`);
    write(number, share < 0.03 ? "" : String(index + 1));
    x += share;
  }
}

let { rates } = data; // [seconds since the start, bytes per second or null]
let most = { rate: 0, said: "" };

function drawRates(s, isNewLoad) {
  if (isNewLoad) {
    rates = [];
    most = { rate: 0, said: "" };
  }
  if (s.state !== "loading" || (s.rate == null && !rates.at(-1)?.[1])) return;
  rates.push([s.elapsed, s.rate]);
  if (rates.length > 2 * WIDTH) rates = rates.filter((point, index) => index % 2 === 0);
  if (s.rate > most.rate) most = { rate: s.rate, said: s.said.rate };
  const top = Math.max(1, ...rates.map(([, rate]) => rate));
  const begin = rates[0][0];
  const span = Math.max(0.001, rates.at(-1)[0] - begin);
  const points = rates.map(([elapsed, rate], index) => {
    if (rate == null) return "";
    const pen = rates[index - 1]?.[1] == null ? "M" : "L";
    const x = WIDTH * (elapsed - begin) / span;
    return `${pen}${x.toFixed(1)} ${(HEIGHT - 1 - (HEIGHT - 2) * rate / top).toFixed(1)}`;
  });
  const spark = document.getElementById("spark");
  spark.firstElementChild.setAttribute("d", points.join(""));
  if (most.said) spark.ariaLabel = `Rate since the start, at most ${most.said}`;
}

function tellStory({ said }, isNewLoad) {
  const log = document.getElementById("log");
  if (isNewLoad) log.replaceChildren();
  if (!said.entry || log.lastElementChild?.querySelector(".what").textContent === said.entry) return;
  const line = document.createElement("li");
  for (const [name, text] of [["when", said.elapsed], ["what", said.entry]]) {
    const part = document.createElement("span");
    part.className = name;
    part.textContent = text;
    line.append(part, " ");
  }
  log.append(line);
}

async function tryOut(event) { // the answer as the page would have it, without leaving the page
  const form = event.target;
  if (!form.closest("#try")) return;
  event.preventDefault();
  const { submitter } = event;
  const body = new FormData(form, submitter);
  submitter.setAttribute("aria-busy", "true");
  let answer = null;
  let trouble = "The server does not answer. Is it running?";
  try {
    const text = await (await fetch(form.action, { method: "POST", body, headers: { Accept: "text/html" } })).text();
    const page = new DOMParser().parseFromString(text, "text/html");
    answer = page.getElementById("answer");
    trouble = page.querySelector("main")?.innerText ?? text;
  } catch { /* said below */ }
  submitter.removeAttribute("aria-busy");
  document.getElementById("answer").replaceChildren(...(answer ? document.adoptNode(answer).childNodes : [trouble]));
}

root.addEventListener("submit", tryOut);
add(root, first);
localTimes();
follow({
  request: { id: first.id, words: true },
  answered: (s) => take(s, true),
  news(s, isNewState, before) {
    const { percent } = s.said;
    document.title = `${percent ? `${percent} · ` : ""}${s.id} · modelhub`;
    const isNewLoad = before.load_id !== s.load_id;
    if (s.shares && String(s.shares) !== String(before.shares)) drawSegments(s.shares);
    drawRates(s, isNewLoad);
    tellStory(s, isNewLoad);
    if (s.state === "failed") document.getElementById("story").open = true;
    if (isNewState) refresh(localTimes);
  },
});
