// An answer for a screen reader: whole sentences, bundled, in one polite live region.

const SENTENCE = /[^]*?(?:[.!?…]["'”’)*_]*(?=\s)|\n)/y;
const FENCE = /^\s*(?:```|~~~)/;
const PAUSE_MS = 1000; // between two announcements
const STAYS_MS = 20_000; // so that it is not read once more by those who read all of the page

export class Speech {
  #region;
  #read = 0; // characters of the text that were taken
  #inCode = false;
  #waiting = [];
  #timer = 0;

  constructor(region) {
    this.#region = region;
  }

  // A new answer begins, or one of which `read` characters are known goes on.
  begin(read) {
    this.#read = read;
    this.#inCode = false;
  }

  // The answer is `text` so far: take the sentences that have ended.
  follow(text, isWhole = false) {
    SENTENCE.lastIndex = this.#read;
    for (let found; (found = SENTENCE.exec(text)); this.#read = SENTENCE.lastIndex) this.#take(found[0]);
    if (isWhole) this.#take(text.slice(this.#read));
    if (isWhole) this.#read = text.length;
  }

  // Say something else, after what waits.
  say(text) {
    this.#waiting.push(text);
    this.#timer ||= setTimeout(() => this.#flush(), this.#region.childElementCount ? PAUSE_MS : 0);
  }

  #take(sentence) {
    if (FENCE.test(sentence)) {
      this.#inCode = !this.#inCode;
      if (this.#inCode) this.say("Code.");
    } else if (!this.#inCode) {
      const spoken = sentence.replace(/\[([^\]]*)\]\([^)]*\)/g, "$1").replace(/^[\s>#*+-]+|[*_`~|]+/g, "").trim();
      if (spoken) this.say(spoken);
    }
  }

  #flush() {
    this.#timer = 0;
    const line = document.createElement("p");
    line.textContent = this.#waiting.splice(0).join(" ");
    this.#region.append(line);
    setTimeout(() => line.remove(), STAYS_MS);
  }
}
