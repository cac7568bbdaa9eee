// The page of one model.

import { add, data, follow, refresh, take } from "./live.js";

const [first] = data.snapshots;

function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.title = time.dateTime;
    time.textContent = new Date(time.dateTime).toLocaleString("sv"); // as in 2026-11-23 04:50:23
  }
}

add(document.getElementById("model"), first);
localTimes();
follow({
  request: { id: first.id, words: true },
  answered: (s) => take(s, true),
  news(s, isNewState) {
    const { percent } = s.said;
    document.title = `${percent ? `${percent} · ` : ""}${s.id} · modelhub`;
    if (isNewState) refresh(localTimes);
  },
});
