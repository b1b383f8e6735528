// One view: the image on a canvas, marks on another above it, zoom and pan, and what the pointer does.

import { WARNING, cased, casedText, colorOf, path, shapeOf } from "./shapes.js";

const GRAB = 7; // screen px within which a mark is grabbed
const DRAG = 4; // screen px after which a press is a drag
const MAX_SCALE = 60;

export class View {
  // `app` has the state that is drawn, and the actions: see label.js.
  constructor(app, number, name) {
    this.app = app;
    this.number = number;
    this.size = [0, 0];
    this.viewImage = null; // { full, half } of images.js
    this.cursor = null; // the keyboard's, in px of the image
    this.pointer = null;
    this.transform = { scale: 1, x: 0, y: 0 };
    this.fitted = true;
    this.element = document.createElement("section");
    this.element.className = "view";
    this.element.innerHTML =
      '<canvas class="image"></canvas><canvas class="marks"></canvas><header><b></b><span></span></header><p></p>';
    [this.image, this.marks] = this.element.querySelectorAll("canvas");
    this.element.querySelector("b").textContent = name;
    this.info = this.element.querySelector("header span");
    this.note = this.element.querySelector("p");
    new ResizeObserver(() => this.resize()).observe(this.element);
    this.listen();
  }

  setImage(viewImage, size, note = "") {
    const changed = size[0] !== this.size[0] || size[1] !== this.size[1];
    if (this.viewImage) this.viewImage.onHalved = null;
    if (viewImage) viewImage.onHalved = () => this.drawImage();
    this.viewImage = viewImage;
    this.size = size;
    this.note.textContent = note;
    if (changed || this.fitted) this.fit();
    else this.draw();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const ratio = devicePixelRatio;
    for (const canvas of [this.image, this.marks]) {
      canvas.width = Math.max(1, Math.round(width * ratio));
      canvas.height = Math.max(1, Math.round(height * ratio));
    }
    if (this.fitted) this.fit();
    else this.draw();
  }

  fit() {
    const { clientWidth: width, clientHeight: height } = this.element;
    const scale = Math.min(width / (this.size[0] || 1), height / (this.size[1] || 1)) || 1;
    this.fitScale = scale;
    this.transform = { scale, x: (width - this.size[0] * scale) / 2, y: (height - this.size[1] * scale) / 2 };
    this.fitted = true;
    this.draw();
  }

  // Pixel (0, 0) is the center of the first pixel, so its left border is at -0.5.
  toScreen([x, y]) {
    const { scale, x: left, y: top } = this.transform;
    return [(x + 0.5) * scale + left, (y + 0.5) * scale + top];
  }

  toImage([x, y]) {
    const { scale, x: left, y: top } = this.transform;
    return [(x - left) / scale - 0.5, (y - top) / scale - 0.5];
  }

  zoom(factor, [x, y]) {
    const { scale, x: left, y: top } = this.transform;
    const next = Math.min(MAX_SCALE, Math.max(this.fitScale * 0.5, scale * factor));
    const share = next / scale;
    this.transform = { scale: next, x: x - (x - left) * share, y: y - (y - top) * share };
    this.fitted = false;
    this.draw();
  }

  center(point, scale) {
    const { clientWidth: width, clientHeight: height } = this.element;
    this.transform = { scale, x: width / 2 - (point[0] + 0.5) * scale, y: height / 2 - (point[1] + 0.5) * scale };
    this.fitted = false;
    this.draw();
  }

  pan(dx, dy) {
    this.transform.x += dx;
    this.transform.y += dy;
    this.fitted = false;
    this.draw();
  }

  keepVisible(point) {
    const [x, y] = this.toScreen(point);
    const { clientWidth: width, clientHeight: height } = this.element;
    const margin = 24;
    const inside = (value, length) => Math.min(Math.max(value, margin), length - margin) - value;
    const [dx, dy] = [inside(x, width), inside(y, height)];
    if (dx || dy) this.pan(dx, dy);
  }

  draw() {
    this.drawImage();
    this.drawMarks();
  }

  drawImage() {
    const context = this.image.getContext("2d", { alpha: false });
    const ratio = devicePixelRatio;
    const { scale, x, y } = this.transform;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.fillStyle = "#101113";
    context.fillRect(0, 0, this.image.width, this.image.height);
    this.info.textContent = this.viewImage ? `${Math.round(scale * 100)} %` : "";
    const half = scale * ratio <= 0.5 ? this.viewImage?.half : null;
    const bitmap = half ?? this.viewImage?.full;
    if (!bitmap?.width) return; // a closed bitmap has none
    context.setTransform(ratio * scale, 0, 0, ratio * scale, ratio * x, ratio * y);
    context.imageSmoothingEnabled = scale < 3; // from there on, the pixels themselves
    context.drawImage(bitmap, 0, 0, this.size[0], this.size[1]);
  }

  drawMarks() {
    const { app, number } = this;
    const context = this.marks.getContext("2d");
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, this.marks.width, this.marks.height);
    this.element.classList.toggle("active", app.activeView === number);
    if (!app.frame || !this.viewImage) return;
    context.globalAlpha = app.video.offset ? 0.35 : 1;
    if (app.options.skeleton) this.drawSkeleton(context);
    if (app.options.geometry) this.drawCurves(context);
    const order = app.project.keypoints.map((_, keypoint) => keypoint).filter((keypoint) => keypoint !== app.activeKeypoint);
    for (const keypoint of [...order, app.activeKeypoint]) this.drawKeypoint(context, keypoint);
    if (this.cursor && app.activeView === number) this.drawCursor(context);
    context.globalAlpha = 1;
  }

  drawSkeleton(context) {
    context.lineCap = "round";
    context.beginPath();
    for (const [a, b] of this.app.project.skeleton) {
      const [from, to] = [a, b].map((keypoint) => this.app.shownPoint(this.number, keypoint));
      if (from && to) {
        context.moveTo(...this.toScreen(from));
        context.lineTo(...this.toScreen(to));
      }
    }
    context.strokeStyle = "rgba(255, 255, 255, 0.45)";
    context.lineWidth = 1.5;
    context.stroke();
  }

  drawCurves(context) {
    const curves = this.app.frame.geometryOf(this.app.activeKeypoint)?.curves ?? [];
    for (const { pieces } of curves) {
      for (const piece of pieces[this.number]) {
        cased(context, colorOf(this.app.activeKeypoint), 1.5, () => {
          context.beginPath();
          piece.forEach((point, index) => context[index ? "lineTo" : "moveTo"](...this.toScreen(point)));
        });
      }
    }
  }

  drawKeypoint(context, keypoint) {
    const { app, number } = this;
    const active = keypoint === app.activeKeypoint;
    const [color, shape] = [colorOf(keypoint), shapeOf(keypoint)];
    const [x, y, visible, origin] = app.frame.label(number, keypoint);
    const placed = x !== null;
    const geometry = app.options.geometry ? app.frame.geometryOf(keypoint) : null;
    const projection = geometry?.projections[number];
    const marked = app.frame.isMarked(number, keypoint);
    if (!placed && origin !== "absent") this.drawPrediction(context, keypoint, color, shape, active);
    if (projection && (!placed || marked || active)) {
      const [px, py] = this.toScreen(projection);
      if (active) this.drawEllipse(context, geometry.ellipses[number], px, py, color);
      cased(context, color, active ? 1.8 : 1.2, () => cross(context, px, py, active ? 6 : 4));
      if (placed && marked) {
        cased(context, WARNING, 1.5, () => {
          context.beginPath();
          context.moveTo(px, py);
          context.lineTo(...this.toScreen([x, y]));
        });
      }
    }
    if (!placed) return;
    const [sx, sy] = this.toScreen([x, y]);
    const radius = active ? 6 : 4.5;
    if (active) {
      path(context, shape, sx, sy, radius + 3);
      context.strokeStyle = "rgba(255, 255, 255, 0.9)";
      context.lineWidth = 1.5;
      context.stroke();
    }
    if (visible === 2) {
      path(context, shape, sx, sy, radius);
      context.fillStyle = color;
      context.fill();
      context.strokeStyle = "rgba(0, 0, 0, 0.8)";
      context.lineWidth = 1.2;
      context.stroke();
      // The exact place stays visible; an accepted projection has a larger hole.
      context.beginPath();
      context.arc(sx, sy, origin === "projection" ? radius * 0.5 : 1, 0, 2 * Math.PI);
      context.fillStyle = "rgba(0, 0, 0, 0.85)";
      context.fill();
    } else {
      cased(context, color, 1.8, () => path(context, shape, sx, sy, radius));
    }
    const named = active || app.options.names;
    if (marked && named) casedText(context, `${app.frame.errorOf(number, keypoint).toFixed(1)} px`, sx + 10, sy + 15, WARNING);
    if (named) casedText(context, app.project.keypoints[keypoint], sx + 10, sy - 7, color);
  }

  drawPrediction(context, keypoint, color, shape, active) {
    const prediction = this.app.frame.prediction(this.number, keypoint);
    if (!prediction) return;
    const [x, y] = this.toScreen(prediction);
    context.save();
    context.globalAlpha *= 0.45 + 0.55 * prediction[2];
    context.setLineDash([2.5, 2.5]);
    cased(context, color, 1.5, () => path(context, shape, x, y, active ? 7 : 5));
    context.restore();
    if (active) casedText(context, `${prediction[2].toFixed(2)}`, x + 10, y - 7, color);
  }

  drawEllipse(context, ellipse, x, y, color) {
    if (!ellipse) return;
    const [major, minor, angle] = ellipse;
    const { scale } = this.transform;
    context.save();
    context.setLineDash([4, 3]);
    cased(context, color, 1.2, () => {
      context.beginPath();
      context.ellipse(x, y, Math.max(major * scale, 2), Math.max(minor * scale, 2), angle, 0, 2 * Math.PI);
    });
    context.restore();
  }

  drawCursor(context) {
    const [x, y] = this.toScreen(this.cursor);
    cased(context, "#ffffff", 1.2, () => {
      context.beginPath();
      for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
        context.moveTo(x + 4 * dx, y + 4 * dy);
        context.lineTo(x + 22 * dx, y + 22 * dy);
      }
    });
  }

  // The mark under a place on the screen: [keypoint, true if it is a label]; of the active keypoint also its projection
  // or prediction.
  markAt(place) {
    const near = (point) => {
      if (!point) return Infinity;
      const [x, y] = this.toScreen(point);
      return Math.hypot(x - place[0], y - place[1]);
    };
    const { app, number } = this;
    let best = [null, GRAB];
    app.project.keypoints.forEach((_, keypoint) => {
      const [x, y] = app.frame.label(number, keypoint);
      const distance = x === null ? Infinity : near([x, y]) - (keypoint === app.activeKeypoint ? 2 : 0);
      if (distance < best[1]) best = [[keypoint, true], distance];
    });
    if (best[0]) return best[0];
    const proposals = [app.frame.projection(number, app.activeKeypoint), app.frame.prediction(number, app.activeKeypoint)];
    return Math.min(...proposals.map(near)) < GRAB ? [app.activeKeypoint, false] : null;
  }

  listen() {
    const element = this.marks;
    element.addEventListener("wheel", (event) => {
      event.preventDefault();
      const unit = event.deltaMode === 1 ? 30 : 1;
      this.zoom(Math.exp(-event.deltaY * unit * 0.0015), [event.offsetX, event.offsetY]);
    }, { passive: false });
    element.addEventListener("pointerdown", (event) => this.press(event));
    element.addEventListener("pointermove", (event) => this.move(event));
    element.addEventListener("pointerup", (event) => this.release(event));
    element.addEventListener("pointercancel", () => this.cancel());
    element.addEventListener("contextmenu", (event) => event.preventDefault());
  }

  press(event) {
    if (!this.viewImage || event.button > 2) return;
    this.app.activate(this.number);
    this.marks.setPointerCapture(event.pointerId);
    const at = [event.offsetX, event.offsetY];
    const mark = event.button === 0 && !event.shiftKey ? this.markAt(at) : null;
    this.pointer = { start: at, last: at, moved: false, mark, button: event.button };
    if (mark?.[1]) this.app.select(mark[0]);
  }

  move(event) {
    const at = [event.offsetX, event.offsetY];
    const { pointer } = this;
    if (!pointer) {
      this.marks.style.cursor = this.markAt(at) ? "grab" : "crosshair";
      return;
    }
    if (Math.hypot(at[0] - pointer.start[0], at[1] - pointer.start[1]) > DRAG) pointer.moved = true;
    if (!pointer.moved) return;
    if (pointer.mark) this.app.editor.drag(this.number, pointer.mark[0], this.toImage(at));
    else this.pan(at[0] - pointer.last[0], at[1] - pointer.last[1]);
    pointer.last = at;
  }

  release(event) {
    const { pointer } = this;
    this.pointer = null;
    if (!pointer) return;
    const point = this.toImage([event.offsetX, event.offsetY]);
    if (pointer.moved && pointer.mark) this.app.editor.drop(this.number, pointer.mark[0], point);
    else if (!pointer.moved && pointer.button === 0 && !pointer.mark?.[1]) this.app.editor.place(this.number, point);
  }

  cancel() {
    if (this.pointer?.mark && this.pointer.moved) this.app.editor.cancelDrag();
    this.pointer = null;
  }
}

function cross(context, x, y, radius) {
  context.beginPath();
  context.moveTo(x - radius, y);
  context.lineTo(x + radius, y);
  context.moveTo(x, y - radius);
  context.lineTo(x, y + radius);
}
