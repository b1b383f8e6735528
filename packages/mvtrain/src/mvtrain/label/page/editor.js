// Edits of the frame that is shown: labels are placed, dragged, accepted, marked and removed, undone and redone.

import { post } from "./api.js";
import { NONE } from "./frame.js";

const round = (value) => Math.round(value * 1000) / 1000;

export class Editor {
  // `app` has the frame, the active view and keypoint; `histories` what was done before.
  constructor(app, histories) {
    this.app = app;
    this.histories = histories;
  }

  get frame() {
    return this.app.frame;
  }

  get active() {
    return [this.app.activeView, this.app.activeKeypoint];
  }

  // `labels`: [view, keypoint, label] of each label to set.
  apply(labels) {
    const changes = labels
      .map(([view, keypoint, label]) => ({ view, keypoint, before: this.frame.labels[view][keypoint], after: label }))
      .filter(({ before, after }) => before.some((value, index) => value !== after[index]));
    if (!changes.length) return false;
    if (this.app.video.offset) {
      this.app.video.set(0);
      return false;
    }
    this.histories.add(this.frame, changes);
    this.write(changes, "after");
    return true;
  }

  undo() {
    const changes = this.histories.undo(this.frame);
    if (changes) this.write(changes, "before");
  }

  redo() {
    const changes = this.histories.redo(this.frame);
    if (changes) this.write(changes, "after");
  }

  write(changes, which) {
    for (const { view, keypoint, [which]: label } of changes) this.frame.labels[view][keypoint] = label;
    this.histories.save(this.frame.name);
    this.app.saving.push(this.frame, changes.map(({ view, keypoint, [which]: label }) => [view, keypoint, label]));
    this.app.geometry.refresh(changes.map(({ keypoint }) => keypoint));
    this.app.render();
  }

  // Pointer and cursor

  place(view, point) {
    const { app, frame } = this;
    const [x, y] = point.map(round);
    if (!frame.isInside(view, [x, y])) return;
    const keypoint = app.activeKeypoint;
    const placed = this.apply([[view, keypoint, [x, y, this.seen(view, keypoint), "click"]]]);
    if (placed && (app.options.advance || !frame.geometry)) app.step(1);
  }

  drag(view, keypoint, point) {
    const { app, frame } = this;
    if (app.video.offset) return;
    const [width, height] = frame.views[view].size;
    const x = round(Math.min(Math.max(point[0], -0.5), width - 0.5));
    const y = round(Math.min(Math.max(point[1], -0.5), height - 0.5));
    frame.dragged = { view, keypoint, label: [x, y, this.seen(view, keypoint), "click"] };
    app.geometry.refresh([keypoint]);
    app.render();
  }

  drop(view, keypoint, point) {
    this.drag(view, keypoint, point);
    const label = this.frame.dragged?.label;
    this.frame.dragged = null;
    if (label) this.apply([[view, keypoint, label]]);
  }

  cancelDrag() {
    if (!this.frame.dragged) return;
    const { keypoint } = this.frame.dragged;
    this.frame.dragged = null;
    this.app.geometry.refresh([keypoint]);
    this.app.render();
  }

  // A label that was occluded stays so where it moves.
  seen(view, keypoint) {
    return this.frame.labels[view][keypoint][2] === 1 ? 1 : 2;
  }

  // Projections and predictions

  accept() {
    const [view, keypoint] = this.active;
    const projection = this.frame.projection(view, keypoint);
    if (!this.frame.isInside(view, projection)) return this.acceptPrediction();
    this.apply([[view, keypoint, this.accepted(view, keypoint, projection)]]);
  }

  acceptViews() {
    this.apply(this.acceptable(this.app.activeKeypoint));
    this.app.nextOpen();
  }

  acceptAll() {
    this.apply(this.app.project.keypoints.flatMap((_, keypoint) => this.acceptable(keypoint)));
  }

  // Projections that can be accepted: where there is no label, or one that was accepted before.
  acceptable(keypoint) {
    const { frame } = this;
    if (frame.geometry?.disagrees[keypoint] && frame.geometry.suspects[keypoint].length !== 1) return [];
    return frame.views.flatMap((_, view) => {
      const [x, , visible, origin] = frame.labels[view][keypoint];
      const open = (x === null && origin !== "absent" && visible === 0) || origin === "projection";
      const projection = frame.projection(view, keypoint);
      return open && frame.isInside(view, projection) ? [[view, keypoint, this.accepted(view, keypoint, projection)]] : [];
    });
  }

  accepted(view, keypoint, [x, y]) {
    return [x, y, this.seen(view, keypoint), "projection"];
  }

  acceptPrediction() {
    const [view, keypoint] = this.active;
    const prediction = this.frame.prediction(view, keypoint);
    if (prediction) this.apply([[view, keypoint, [prediction[0], prediction[1], 2, "prediction"]]]);
  }

  acceptPredictions() {
    const { frame } = this;
    const labels = frame.views.flatMap((_, view) => this.app.project.keypoints.flatMap((_, keypoint) => {
      const [x, , visible, origin] = frame.labels[view][keypoint];
      const prediction = frame.prediction(view, keypoint);
      if (x !== null || visible || origin || !prediction) return [];
      return [[view, keypoint, [prediction[0], prediction[1], 2, "prediction"]]];
    }));
    this.apply(labels);
  }

  // Visibility

  toggleOccluded() {
    const [view, keypoint] = this.active;
    if (!this.app.project.hasVisible) return this.offerVisible();
    const [x, y, visible, origin] = this.frame.labels[view][keypoint];
    if (visible === 1) return this.apply([[view, keypoint, x === null ? NONE : [x, y, 2, origin]]]);
    if (x !== null) return this.apply([[view, keypoint, [x, y, 1, origin]]]);
    const projection = this.frame.projection(view, keypoint);
    const place = this.frame.isInside(view, projection) ? [...projection, 1, "projection"] : [null, null, 1, "click"];
    return this.apply([[view, keypoint, place]]);
  }

  toggleAbsent() {
    const [view, keypoint] = this.active;
    const absent = this.frame.labels[view][keypoint][3] === "absent";
    this.apply([[view, keypoint, absent ? NONE : [null, null, 0, "absent"]]]);
  }

  remove() {
    this.apply([[...this.active, NONE]]);
  }

  offerVisible() {
    this.app.banner.show(
      "Occluded needs a column `visible`, which the label tables do not have. Adding it changes every row of every table; " +
        "labels keep their digits. DeepLabCut does not read tables with this column, Lightning Pose does.",
      "add the column",
      async () => {
        await this.app.saving.queue.flush();
        await post("/api/visible");
        this.app.restart();
      },
      "note",
    );
  }
}
