// The page of a load that is running: reload it once the load has ended.

const element = document.querySelector("[data-events]");
const terminal = ["model_load_completed", "model_load_failed", "model_load_cancelled"];
const events = new EventSource(element.dataset.events);
for (const name of terminal) events.addEventListener(name, () => location.reload());
events.addEventListener("error", () => {
  // Closed for good: the load had ended before.
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
});
