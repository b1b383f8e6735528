// What was done in each frame, to be undone. It is kept in the browser's storage, so that it survives a reload of the
// page and a closed tab. Labels that were changed elsewhere meanwhile are never touched: then the history is dropped.

const PREFIX = "mvtrain-label-undo:";
const LONGEST = 100; // steps per frame

const same = (a, b) => a.every((value, index) => value === b[index]);

export class Histories {
  // `project` has the names of views and keypoints, whose numbers the steps have.
  constructor(project) {
    this.project = project;
    this.signature = JSON.stringify([project.views, project.keypoints]);
    this.histories = new Map();
  }

  // { done, undone } of a frame: lists of steps, each a list of { view, keypoint, before, after }.
  of(frame) {
    const { name } = frame;
    if (!this.histories.has(name)) this.histories.set(name, this.load(name));
    const history = this.histories.get(name);
    if (this.fits(history, frame)) return history;
    this.drop(name);
    return this.histories.get(name);
  }

  // The next step to undo was the last, so the frame must still have its labels; so with the next step to redo.
  fits({ done, undone }, frame) {
    const has = (which) => ({ view, keypoint, [which]: label }) => same(label, frame.labels[view]?.[keypoint] ?? []);
    return (done.at(-1) ?? []).every(has("after")) && (undone.at(-1) ?? []).every(has("before"));
  }

  add(frame, changes) {
    const history = this.of(frame);
    history.done.push(changes);
    history.done.splice(0, history.done.length - LONGEST);
    history.undone = [];
  }

  undo(frame) {
    const { done, undone } = this.of(frame);
    const changes = done.pop();
    if (changes) undone.push(changes);
    return changes;
  }

  redo(frame) {
    const { done, undone } = this.of(frame);
    const changes = undone.pop();
    if (changes) done.push(changes);
    return changes;
  }

  drop(name) {
    this.histories.set(name, { done: [], undone: [] });
    this.save(name);
  }

  key(name) {
    return `${PREFIX}${this.project.name}/${name}`;
  }

  load(name) {
    try {
      const { signature, done, undone } = JSON.parse(localStorage.getItem(this.key(name))) ?? {};
      if (signature === this.signature) return { done, undone };
    } catch {
      // Written by something else.
    }
    return { done: [], undone: [] };
  }

  // To be called after the labels were changed.
  save(name) {
    const { done, undone } = this.histories.get(name);
    const text = JSON.stringify({ signature: this.signature, done, undone });
    try {
      if (done.length || undone.length) localStorage.setItem(this.key(name), text);
      else localStorage.removeItem(this.key(name));
    } catch {
      // The storage is full: other frames were left long ago.
      for (const key of Object.keys(localStorage)) if (key.startsWith(PREFIX)) localStorage.removeItem(key);
    }
  }
}
