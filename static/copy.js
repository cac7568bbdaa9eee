// Copies a text, and says so on the button that was pressed.

const SAID_MS = 2000;

export async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // a page that came over plain http from another machine has no clipboard
    const field = document.createElement("textarea");
    field.value = text;
    button.after(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    button.focus();
  }
  button.firstChild.data = "Copied";
  setTimeout(() => (button.firstChild.data = "Copy"), SAID_MS);
}
