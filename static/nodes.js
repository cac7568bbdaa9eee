// The page of the nodes: shown anew every two seconds, as the server renders it.

const PERIOD_MS = 2000;
const stale = document.getElementById("stale");

async function refresh() {
  if (document.hidden) return;
  const text = await fetch(location.href).then((response) => response.ok ? response.text() : "").catch(() => "");
  const fresh = text && new DOMParser().parseFromString(text, "text/html").getElementById("nodes");
  const since = stale.textContent || `The server does not respond. This is as of ${new Date().toLocaleTimeString("sv")}.`;
  const said = fresh ? "" : since;
  if (stale.textContent !== said) stale.textContent = said;
  const shown = document.getElementById("nodes");
  // What has the focus stays.
  if (fresh && !shown.contains(document.activeElement) && fresh.innerHTML !== shown.innerHTML) shown.replaceWith(fresh);
}

setInterval(refresh, PERIOD_MS);
document.addEventListener("visibilitychange", refresh);
