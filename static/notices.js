// What shows in other tabs and programs: the icon of the tab fills, and a notification says that a long load ended.

const LONG_S = 10;
const WANTED = "notify"; // the key in the browser's storage
const ICON = (height) => `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">
<rect width="16" height="16" rx="3" fill="#8a94a6"/><rect y="${16 - height}" width="16" height="${height}" rx="3" fill="#2456c9"/></svg>`;

// Fill the icon as far as the loads are, on average; none is the plain icon.
export function showFavicon(loads) {
  const sum = loads.reduce((total, { progress }) => total + (progress || 0), 0);
  const height = loads.length ? Math.round((16 * sum) / loads.length) : 0;
  const icon = document.querySelector("link[rel=icon]");
  icon.dataset.plain ??= icon.href;
  const href = loads.length ? `data:image/svg+xml,${encodeURIComponent(ICON(height))}` : icon.dataset.plain;
  if (icon.href !== href) icon.href = href;
}

const isWanted = () => localStorage.getItem(WANTED) === "yes" && Notification.permission === "granted";

// Show the button that turns notifications on and off, where the browser has them.
export function offerNotices() {
  const button = document.getElementById("notify");
  if (!button || !("Notification" in window)) return;
  const draw = () => {
    button.ariaPressed = isWanted();
    button.title = `A notification when a load of more than ${LONG_S} seconds ends: ${isWanted() ? "on" : "off"}`;
  };
  button.hidden = Notification.permission === "denied";
  button.addEventListener("click", async () => {
    const turnOn = !isWanted() && (await Notification.requestPermission()) === "granted";
    localStorage.setItem(WANTED, turnOn ? "yes" : "no");
    draw();
  });
  draw();
}

// A load has ended: say so to who is elsewhere.
export function notifyOf({ id, elapsed, words }) {
  if (!("Notification" in window) || !isWanted() || elapsed <= LONG_S || document.hasFocus()) return;
  new Notification(`${id}: ${words.state}`, { body: [words.headline, words.line].join(" "), tag: id });
}
