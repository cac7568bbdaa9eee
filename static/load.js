// The page of a load that runs: once the load has ended, the page is made anew, with its end.

const place = document.querySelector("[data-events]");
const ends = ["model_load_completed", "model_load_failed", "model_load_cancelled"];
const events = new EventSource(place.dataset.events);
for (const name of ends) events.addEventListener(name, () => location.reload());
events.addEventListener("error", () => { // closed for good: it had ended already
  if (events.readyState === EventSource.CLOSED) setTimeout(() => location.reload(), 2000);
});
