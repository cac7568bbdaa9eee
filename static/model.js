// The page of one model.

import { add, data, describe, follow, fresh, take } from "./live.js";

const [first] = data.snapshots;

function title(s) {
  const { percent } = describe(s);
  document.title = `${percent ? `${percent} · ` : ""}${s.id} · modelhub`;
}

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.title = time.dateTime;
    time.textContent = new Date(time.dateTime).toLocaleString("sv"); // as in 2026-11-23 04:50:23
  }
}

let wanted = 0;
function refresh() { // what the server alone can say: the facts and the past loads
  clearTimeout(wanted);
  wanted = setTimeout(async () => {
    const page = await fresh();
    for (const id of ["facts", "past"]) {
      const part = page?.getElementById(id);
      if (part) document.getElementById(id).replaceWith(document.adoptNode(part));
    }
    localTimes();
  }, 150);
}

add(document.getElementById("model"), first);
title(first);
localTimes();
follow({
  request: { id: first.id },
  answered: (s) => take(s, true),
  unknown() {},
  news(s, isNewState) {
    title(s);
    if (isNewState) refresh();
  },
});
