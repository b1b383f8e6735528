// The banner above the images: what went wrong, or a question, with one button.

export class Banner {
  constructor(element) {
    this.element = element;
  }

  show(text, action, act, kind) {
    const [message, button] = this.element.children;
    message.textContent = text;
    button.textContent = action;
    button.onclick = async () => {
      this.element.hidden = true;
      await Promise.resolve(act()).catch((error) => this.fail(error));
    };
    this.element.className = kind === "note" ? "note" : "";
    this.element.dataset.kind = kind;
    this.element.hidden = false;
  }

  // Hide a banner of one kind.
  hide(kind) {
    if (this.element.dataset.kind === kind) this.element.hidden = true;
  }

  fail(error) {
    const offline = error instanceof TypeError && /fetch/i.test(error.message);
    const text = offline
      ? "The server does not answer. What it had received is kept: start mvtrain label again and open the new address."
      : error.message;
    this.show(text, "close", () => {}, "error");
  }
}
