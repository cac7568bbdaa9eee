// Times are rendered in UTC; here they become the reader's own: 2026-11-23 04:50:23.

export function localTimes() {
  for (const time of document.querySelectorAll("time")) {
    time.title = time.dateTime;
    time.textContent = new Date(time.dateTime).toLocaleString("sv");
  }
}

localTimes();
