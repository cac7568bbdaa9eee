// Keeps the newest part of a box in sight, unless one has scrolled up to read; and the box itself where it is.

const NEAR_PX = 48; // as near to its end, the box follows what comes

export class Following {
  #box;
  #button;
  #isOn = true;

  // `button` leads back to the newest.
  constructor(box, button) {
    this.#box = box;
    this.#button = button;
    box.addEventListener("scroll", () => this.#set(box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_PX));
  }

  // Something has come.
  follow() {
    if (this.#isOn) this.#box.scrollTop = this.#box.scrollHeight;
  }

  // Go to the newest, and stay there.
  resume() {
    this.#set(true);
    this.follow();
  }

  #set(isOn) {
    this.#isOn = isOn;
    this.#button.hidden = isOn;
  }
}

// What is above `box` grows and shrinks as the model leaves and comes: for who uses the box, it stays in its place.
export function stay(box, above) {
  let top = 0;
  const find = () => box.getBoundingClientRect().top;
  addEventListener("scroll", () => (top = find()), { passive: true });
  new ResizeObserver(() => {
    if (box.contains(document.activeElement)) scrollBy(0, find() - top);
    top = find();
  }).observe(above);
}
