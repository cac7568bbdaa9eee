// How fast an answer came: counted by the server where it says so, else by this page's own clock.

export class Clock {
  #began = performance.now();
  #first = 0;
  #last = 0;
  #pieces = 0;
  wasLoaded = false; // the model was not in memory, and was loaded for this answer

  get hasBegun() {
    return this.#pieces > 0;
  }

  // A piece of the answer has come.
  piece() {
    this.#last = performance.now();
    this.#first ||= this.#last;
    this.#pieces += 1;
  }

  // The figures so far; null before the first token. `usage` and `timings` are those of the last chunk, if it has come.
  figures({ usage, timings } = {}) {
    if (!this.#pieces) return null;
    const tokens = usage?.completion_tokens ?? this.#pieces;
    const seconds = (this.#last - this.#first) / 1000;
    return {
      tokens,
      isCounted: Boolean(usage),
      perSecond: timings?.predicted_per_second ?? (tokens > 1 && seconds > 0 ? (tokens - 1) / seconds : null),
      first: (this.#first - this.#began) / 1000,
      wasLoaded: this.wasLoaded,
    };
  }
}
