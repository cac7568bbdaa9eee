// A question before a button does what may not be meant; fetched only then.

// Ask before what may not be meant; resolves to whether it is.
export function ask({ message, hint }, button) {
  const dialog = document.createElement("dialog");
  const text = document.createElement("p");
  const form = document.createElement("form");
  form.method = "dialog";
  form.className = "actions";
  text.textContent = `${message} ${hint}`;
  text.id = "question";
  for (const [value, label] of [["", "Keep it"], ["yes", button.firstChild.textContent]]) {
    const answer = document.createElement("button");
    answer.value = value;
    answer.textContent = label;
    form.append(answer);
  }
  dialog.setAttribute("aria-labelledby", text.id);
  dialog.append(text, form);
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    });
  });
}
