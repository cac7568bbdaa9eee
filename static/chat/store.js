// A conversation and its settings, kept in this tab of the browser alone: the server keeps none.

const MOST_CHARACTERS = 500_000; // of the conversation, as JSON; the oldest turns go first

const key = (id) => `chat of ${id}`;

// What was kept for a model; null without anything.
export function kept(id) {
  try {
    return JSON.parse(sessionStorage.getItem(key(id)));
  } catch {
    return null;
  }
}

// Keep { turns, settings }; returns whether all turns could be kept.
export function keep(id, { turns, settings }) {
  let first = 0;
  const lengths = turns.map((turn) => JSON.stringify(turn).length);
  let sum = lengths.reduce((total, length) => total + length, 0);
  while (sum > MOST_CHARACTERS) sum -= lengths[first++];
  try {
    sessionStorage.setItem(key(id), JSON.stringify({ turns: turns.slice(first), settings }));
    return first === 0;
  } catch {
    return false; // the browser has no room, or keeps nothing
  }
}
