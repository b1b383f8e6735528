// Requests to the server, and the queue of edits: every edit is sent at once, in order, and again if the server does
// not answer. The secret comes after the # of the address, which browsers never send, and goes into a header.

const KEY = "mvtrain-label-secret";

function takeSecret() {
  const given = decodeURIComponent(location.hash.slice(1));
  if (given) {
    sessionStorage.setItem(KEY, given);
    history.replaceState(null, "", location.pathname);
  }
  return sessionStorage.getItem(KEY) ?? "";
}

const secret = takeSecret();

export class ServerError extends Error {
  constructor(status, body) {
    super(body.message ?? `the server answered ${status}`);
    this.status = status;
    this.code = body.code ?? "";
    this.done = body.done;
  }
}

async function request(path, options = {}) {
  const response = await fetch(path, { ...options, headers: { "x-mvtrain-secret": secret } });
  if (!response.ok) throw new ServerError(response.status, await response.json().catch(() => ({})));
  return response;
}

export const get = async (path) => (await request(path)).json();

export async function post(path, body = {}, options = {}) {
  return (await request(path, { ...options, method: "POST", body: JSON.stringify(body) })).json();
}

export const image = async (path) => (await request(path)).blob();

export class EditQueue {
  // `onAnswer(answer)` after edits arrived; `onRefused(error)` where one is not valid; `onState()` when anything changes.
  constructor({ generation, onAnswer, onRefused, onState }) {
    this.client = crypto.randomUUID();
    this.generation = generation;
    this.first = 0; // number of the first edit in the list
    this.edits = [];
    this.sending = null;
    this.offline = false;
    Object.assign(this, { onAnswer, onRefused, onState });
    addEventListener("pagehide", () => this.sendAll());
  }

  push(frame, labels) {
    this.edits.push([frame, labels]);
    this.onState();
    this.flush();
  }

  // Resolves when all edits so far have arrived.
  flush() {
    this.sending ??= this.send().finally(() => (this.sending = null));
    return this.sending;
  }

  async send() {
    while (this.edits.length) {
      const count = this.edits.length;
      try {
        const answer = await post("/api/edits", this.body(count));
        this.drop(count);
        this.offline = false;
        this.onAnswer(answer);
      } catch (error) {
        if (error instanceof ServerError && error.code !== "unwritable-file") {
          this.offline = false;
          this.drop(error.done === undefined ? count : error.done - this.first);
          this.onRefused(error);
        } else {
          this.offline = error;
          this.onState();
          await new Promise((resolve) => setTimeout(resolve, 1000));
        }
      }
      this.onState();
    }
  }

  body(count) {
    return { client: this.client, first: this.first, generation: this.generation, edits: this.edits.slice(0, count) };
  }

  drop(count) {
    this.edits.splice(0, count);
    this.first += count;
  }

  // The page is being closed: all edits that were not acknowledged; the server skips those that arrived.
  sendAll() {
    if (this.edits.length) post("/api/edits", this.body(this.edits.length), { keepalive: true }).catch(() => {});
  }
}
