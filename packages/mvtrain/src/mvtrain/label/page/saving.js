// Saving: edits go to the server as they are made, and to the tables when a frame is left or nothing was edited for a
// while. Another page, or another program, may change labels meanwhile.

import { EditQueue, get, post } from "./api.js";

const SAVE_AFTER = 2000; // ms without an edit

export class Saving {
  constructor(app) {
    const { project } = app;
    this.app = app;
    this.revision = project.revision;
    this.unsaved = project.frames.some((frame) => frame.unsaved);
    this.failure = null;
    this.savedAt = null;
    this.queue = new EditQueue({
      generation: project.generation,
      onAnswer: (answer) => this.answered(answer),
      onRefused: (error) => this.refused(error),
      onState: () => this.show(),
    });
    addEventListener("blur", () => this.unsaved && this.save());
    addEventListener("focus", () => this.refresh());
    addEventListener("beforeunload", (event) => {
      if (this.queue.offline && this.queue.edits.length) event.preventDefault();
    });
  }

  push(frame, labels) {
    this.unsaved = true;
    this.queue.push(frame.frame, labels);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), SAVE_AFTER);
  }

  async save() {
    const { banner } = this.app;
    clearTimeout(this.timer);
    await this.queue.flush();
    const edits = this.queue.first;
    try {
      const answer = await post("/api/save");
      if (this.queue.first === edits && !this.queue.edits.length) this.unsaved = false;
      this.failure = null;
      if (answer.saved.length) this.savedAt = new Date();
      banner.hide("save");
    } catch (error) {
      this.failure = error;
      if (error.code === "changed-file") {
        banner.show(error.message, "reload the tables", () => this.reload(), "save");
      } else if (error.code) {
        banner.show(`${error.message}. The labels are kept in the journal.`, "try again", () => this.save(), "save");
      }
    }
    this.show();
  }

  async reload() {
    await this.queue.flush();
    await post("/api/reload");
    this.app.restart();
  }

  answered({ revision, frames }) {
    for (const [frame, summary] of Object.entries(frames)) {
      this.app.project.frames[frame] = summary;
      this.app.frameList.update(Number(frame));
    }
    this.revision = revision;
  }

  // Another page of the same server may have changed labels.
  async refresh() {
    const { app } = this;
    if (!app.frame || this.queue.edits.length) return;
    const project = await get("/api/project").catch(() => null);
    if (!project || project.revision === this.revision) return;
    if (project.generation !== app.project.generation) return app.restart();
    Object.assign(app.project, project);
    this.revision = project.revision;
    project.frames.forEach((_, frame) => app.frameList.update(frame));
    await app.show(app.position);
  }

  async refused(error) {
    const { app } = this;
    if (error.code === "stale-page") return app.restart();
    app.banner.show(error.message, "close", () => {}, "refused");
    app.editor.histories.drop(app.frame.name);
    await app.show(app.position);
  }

  show() {
    const { offline, edits } = this.queue;
    const failed = offline || this.failure;
    const text = offline
      ? `NOT SAVED: the server does not answer (${edits.length} ${edits.length > 1 ? "edits" : "edit"})`
      : this.failure
        ? "NOT SAVED"
        : edits.length || this.unsaved
          ? "unsaved"
          : this.savedAt
            ? `saved ${this.savedAt.toLocaleTimeString()}`
            : "";
    const element = document.getElementById("saving");
    element.textContent = text;
    element.className = failed ? "failed" : this.unsaved ? "unsaved" : "";
  }
}
