// One frame as the server has it: labels, predictions, geometry, and what follows from them. A label is the list
// [x, y, visible, origin]; labels are numbered by view and keypoint.

export const NONE = [null, null, 0, null];

export class Frame {
  // `data` is the server's answer; errors beyond `threshold` px are marked.
  constructor(data, threshold) {
    Object.assign(this, data);
    this.threshold = threshold;
    this.dragged = null; // { view, keypoint, label } while a mark is dragged
  }

  hasImage(view) {
    return this.views[view].image !== null;
  }

  isInside(view, point) {
    if (!point || !this.hasImage(view)) return false;
    const [width, height] = this.views[view].size;
    return point[0] >= -0.5 && point[1] >= -0.5 && point[0] <= width - 0.5 && point[1] <= height - 0.5;
  }

  label(view, keypoint) {
    const { dragged } = this;
    if (dragged && dragged.view === view && dragged.keypoint === keypoint) return dragged.label;
    return this.labels[view][keypoint];
  }

  prediction(view, keypoint) {
    return this.predictions?.[view][keypoint] ?? null;
  }

  projection(view, keypoint) {
    return this.geometry?.projections[view][keypoint] ?? null;
  }

  geometryOf(keypoint) {
    const { geometry } = this;
    if (!geometry) return null;
    return {
      projections: geometry.projections.map((row) => row[keypoint]),
      ellipses: geometry.ellipses.map((row) => row[keypoint]),
      curves: geometry.curves[keypoint] ?? [],
    };
  }

  errorOf(view, keypoint) {
    return this.geometry?.errors[view][keypoint] ?? null;
  }

  isMarked(view, keypoint) {
    return (this.errorOf(view, keypoint) ?? 0) > this.threshold;
  }

  // Place of a keypoint for the skeleton: its label, else what is proposed.
  shownPoint(view, keypoint, withGeometry) {
    const [x, y, , origin] = this.label(view, keypoint);
    if (x !== null) return [x, y];
    if (origin === "absent") return null;
    return (withGeometry && this.projection(view, keypoint)) || this.prediction(view, keypoint);
  }

  state(view, keypoint) {
    if (!this.hasImage(view)) return "missing";
    const [x, , visible, origin] = this.label(view, keypoint);
    if (visible === 1) return "occluded";
    if (x !== null) return origin === "projection" ? "projection" : "click";
    if (origin === "absent") return "absent";
    const projection = this.projection(view, keypoint);
    if (projection) return this.isInside(view, projection) ? "proposal" : "outside";
    return this.prediction(view, keypoint) ? "prediction" : "none";
  }

  states(keypoint) {
    return this.views.map((_, view) => this.state(view, keypoint));
  }

  // True if a keypoint needs a hand in some view.
  isOpen(keypoint) {
    const open = ["none", "prediction", "proposal"];
    return this.views.some((_, view) => open.includes(this.state(view, keypoint)) || this.isMarked(view, keypoint));
  }

  // The geometry of some keypoints, as the server has computed it.
  merge(keypoints, answer) {
    const { geometry } = this;
    keypoints.forEach((keypoint, column) => {
      for (const name of ["projections", "ellipses", "errors"]) {
        geometry[name].forEach((row, view) => (row[keypoint] = answer[name][view][column]));
      }
      for (const name of ["disagrees", "suspects"]) geometry[name][keypoint] = answer[name][column];
      delete geometry.curves[keypoint];
      if (answer.curves[column]) geometry.curves[keypoint] = answer.curves[column];
    });
    geometry.noise = answer.noise;
  }
}
