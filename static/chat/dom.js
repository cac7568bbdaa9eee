// Elements, made one by one.

export function make(tag, children = [], properties = {}) {
  const element = document.createElement(tag);
  element.append(...children);
  return Object.assign(element, properties);
}

// A small button that does `action`, which the chat knows by this name; `more` of its label is heard, not seen.
export function button(action, label, more = "") {
  const rest = more ? [make("span", [more], { className: "quiet" })] : [];
  const element = make("button", [label, ...rest], { type: "button", className: "small" });
  element.dataset.chat = action;
  return element;
}
