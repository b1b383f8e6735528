// Neighbors of the frame in its video, to look at: one set of images at a time; while the slider moves, only the last
// place is loaded.

import { neighbor } from "./images.js";

export class Video {
  // `element` is hidden where a frame has no video; `slider` and `output` show the distance from the frame.
  constructor(app, element, slider, output) {
    Object.assign(this, { app, element, slider, output, offset: 0, seeking: false });
    const { reach } = app.project;
    Object.assign(slider, { min: -reach, max: reach, value: 0 });
    slider.addEventListener("input", () => this.set(Number(slider.value)));
  }

  // Another frame is shown.
  reset(frame) {
    this.offset = 0;
    this.element.hidden = frame.views.every((view) => view.video === null);
    this.show();
  }

  step(step) {
    return this.set(this.offset + step);
  }

  async set(offset) {
    const { app } = this;
    const { reach } = app.project;
    const wanted = Math.min(Math.max(offset, -reach), reach);
    if (this.element.hidden || wanted === this.offset) return app.render();
    this.offset = wanted;
    this.show();
    app.render();
    if (this.seeking) return;
    this.seeking = true;
    for (let loaded = null; loaded !== this.offset; ) {
      loaded = this.offset;
      const { frame } = app;
      const images = loaded === 0
        ? app.images.load(frame.frame, frame.views.length)
        : frame.views.map((view, number) => (view.video === null ? null : neighbor(frame.frame, number, loaded)));
      const viewImages = await Promise.all(images);
      if (app.frame !== frame) break;
      app.showImages(viewImages);
    }
    this.seeking = false;
  }

  show() {
    this.slider.value = this.offset;
    this.output.textContent = this.offset > 0 ? `+${this.offset}` : `${this.offset}`;
  }
}
