// The images of a message: made small in the browser, and sent as data: URIs.

import { button, make } from "./dom.js";

const LONGEST_PX = 1024; // models see no more
const MOST = 4; // of one message
const QUALITY = 0.9;

// The images that go with the next message, as a row of small ones.
export class Images {
  #row;
  #addresses = [];

  constructor(row) {
    this.#row = row;
  }

  // Add those of `files` that the browser can read; returns whether it could read all.
  async add(files) {
    const room = [...files].slice(0, MOST - this.#addresses.length);
    const found = await Promise.all(room.map((file) => small(file).catch(() => null)));
    this.#addresses.push(...found.filter(Boolean));
    this.#draw();
    return found.every(Boolean) && room.length === files.length;
  }

  // The addresses of all, which are here no longer.
  take() {
    const taken = this.#addresses.splice(0);
    this.#draw();
    return taken;
  }

  remove(index) {
    this.#addresses.splice(index, 1);
    this.#draw();
  }

  #draw() {
    const items = shown(this.#addresses).map((image, index) => {
      const remove = button("remove-image", "×", ` Remove image ${index + 1}`);
      remove.dataset.index = index;
      return make("li", [image, remove]);
    });
    this.#row.replaceChildren(...items);
    this.#row.hidden = !items.length;
  }
}

export const shown = (addresses) => addresses.map((src, index) => make("img", [], { src, alt: `Image ${index + 1}` }));

async function small(file) {
  const image = await createImageBitmap(file);
  const scale = Math.min(1, LONGEST_PX / Math.max(image.width, image.height));
  const canvas = make("canvas", [], { width: Math.ceil(scale * image.width), height: Math.ceil(scale * image.height) });
  const context = canvas.getContext("2d");
  context.fillStyle = "#fff"; // of what is transparent
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(image, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", QUALITY);
}
