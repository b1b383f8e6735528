// The page: state of the frame that is labeled, and what keys and pointers do with it. A label is the list
// [x, y, visible, origin], as the server has it; labels are numbered by view and keypoint.

import { EditQueue, get, post } from "./api.js";
import { Images, neighbor } from "./images.js";
import { fillSheet, listen } from "./keys.js";
import { FrameList, KeypointList } from "./sidebar.js";
import { View } from "./view.js";

const SAVE_AFTER = 2000; // ms without an edit
const NONE = [null, null, 0, null];
const OPTIONS = "mvtrain-label-options";
const FRAME = "mvtrain-label-frame"; // shown again after the page was reloaded

const element = (id) => document.getElementById(id);
const round = (value) => Math.round(value * 1000) / 1000;

class App {
  async start() {
    this.project = await get("/api/project");
    document.title = `${this.project.name} - mvtrain label`;
    element("project").textContent = this.project.name;
    const { noise, threshold } = this.project;
    element("noise").textContent = `ellipse 95 % for clicks ±${noise} px; marked > ${threshold} px`;
    this.options = { names: false, skeleton: true, geometry: true, advance: false, ...stored() };
    this.order = this.project.frames.map((_, frame) => frame);
    this.position = 0;
    this.frame = null;
    this.offset = 0;
    this.activeView = 0;
    this.activeKeypoint = 0;
    this.maximized = false;
    this.dragged = null;
    this.histories = new Map();
    this.images = new Images();
    this.revision = this.project.revision;
    this.unsaved = this.project.frames.some((frame) => frame.unsaved);
    this.wanted = new Set();
    this.queue = new EditQueue({
      generation: this.project.generation,
      onAnswer: (answer) => this.answered(answer),
      onRefused: (error) => this.refused(error),
      onState: () => this.showSaving(),
    });
    this.views = this.project.views.map((name, number) => new View(this, number, name));
    element("views").append(...this.views.map((view) => view.element));
    this.keypointList = new KeypointList(this, element("keypoints").querySelector("table"));
    this.frameList = new FrameList(this, element("frames"));
    fillSheet(element("keys"));
    this.listen();
    listen(this);
    if (this.project.hasPredictions && !this.project.isList) this.sort("work");
    const notes = this.project.conflicts.length ? [`Not kept, because the tables differ:`, ...this.project.conflicts] : [];
    if (this.project.recovered) notes.unshift(`${this.project.recovered} labels were recovered that had not been saved.`);
    if (notes.length) this.showBanner(notes.join("\n"), "close", () => {}, "note");
    const last = this.project.frames.findIndex((frame) => frame.name === sessionStorage.getItem(FRAME));
    await this.show(Math.max(0, this.order.indexOf(last)));
  }

  listen() {
    const click = (id, action) => element(id).addEventListener("click", action);
    click("previous", () => this.stepFrame(-1));
    click("next", () => this.stepFrame(1));
    click("undo", () => this.undo());
    click("redo", () => this.redo());
    click("help", () => this.toggleSheet());
    element("order").addEventListener("change", (event) => {
      this.sort(event.target.value);
      event.target.blur();
      this.show(0);
    });
    const { reach } = this.project;
    Object.assign(element("offset"), { min: -reach, max: reach, value: 0 });
    element("offset").addEventListener("input", (event) => this.setOffset(Number(event.target.value)));
    for (const id of ["brightness", "contrast"]) element(id).addEventListener("input", () => this.light());
    // Arrow keys belong to the cursor, not to the slider that was moved last.
    for (const input of document.querySelectorAll("input[type=range]")) {
      input.addEventListener("change", () => input.blur());
    }
    addEventListener("blur", () => this.unsaved && this.save());
    addEventListener("focus", () => this.refresh());
    addEventListener("beforeunload", (event) => {
      if (this.queue.offline && this.queue.edits.length) event.preventDefault();
    });
    addEventListener("resize", () => this.layout());
  }

  // Frames

  async show(position) {
    if (position < 0 || position >= this.order.length) return;
    const began = performance.now();
    if (this.frame) this.leave();
    this.position = position;
    const number = this.order[position];
    this.token = number;
    const images = this.images.load(number, this.views.length);
    const [frame, ...bitmaps] = await Promise.all([
      this.queue.flush().then(() => get(`/api/frames/${number}`)),
      ...images,
    ]).catch((error) => [this.fail(error)]);
    if (!frame || this.token !== number) return;
    this.frame = frame;
    this.offset = 0;
    this.dragged = null;
    this.layout();
    this.showImages(bitmaps);
    this.frameList.activate(number);
    element("frame").textContent = `${position + 1} / ${this.order.length}`;
    element("session").textContent = frame.name;
    element("video").hidden = frame.views.every((view) => view.video === null);
    if (!this.hasImage(this.activeView)) this.activeView = frame.views.findIndex((view) => view.image !== null);
    this.showOffset();
    this.render();
    document.body.dataset.frame = number;
    sessionStorage.setItem(FRAME, frame.name);
    this.shownAfter = performance.now() - began; // for the benchmark
    for (const next of [position + 1, position - 1]) {
      if (next >= 0 && next < this.order.length) this.images.load(this.order[next], this.views.length);
    }
  }

  leave() {
    this.cancelDrag();
    for (const view of this.views) view.cursor = null;
    if (this.unsaved) this.save();
  }

  // True while something is on its way to or from the server, for tests.
  get busy() {
    return Boolean(this.computing || this.rendering || this.seeking || this.queue.edits.length || this.frame?.frame !== this.token);
  }

  showImages(bitmaps) {
    this.views.forEach((view, number) => {
      const image = bitmaps[number];
      const failed = image instanceof Error;
      const note = failed ? image.message : image === null ? "no image of this frame" : "";
      view.setImage(failed ? null : image, this.frame.views[number].size, note);
    });
  }

  stepFrame(step) {
    return this.show(this.position + step);
  }

  sort(order) {
    element("order").value = order;
    const frames = this.project.frames;
    this.order = frames.map((_, frame) => frame);
    if (order === "work") this.order.sort((a, b) => frames[b].work - frames[a].work || a - b);
    this.frameList.sort();
  }

  layout() {
    const area = element("views");
    const shown = this.views.filter((view, number) => !this.maximized || number === this.activeView);
    for (const view of this.views) view.element.hidden = !shown.includes(view);
    const size = this.frame?.views.find((view) => view.image !== null)?.size ?? [4, 3];
    const fits = (columns) => {
      const rows = Math.ceil(shown.length / columns);
      return Math.min(area.clientWidth / columns / size[0], area.clientHeight / rows / size[1]);
    };
    const choices = shown.map((_, number) => number + 1);
    const columns = choices.reduce((best, choice) => (fits(choice) > fits(best) * 1.001 ? choice : best), 1);
    area.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    area.style.gridTemplateRows = `repeat(${Math.ceil(shown.length / columns)}, minmax(0, 1fr))`;
  }

  // What is drawn

  hasImage(view) {
    return this.frame.views[view].image !== null;
  }

  label(view, keypoint) {
    const { dragged } = this;
    if (dragged && dragged.view === view && dragged.keypoint === keypoint) return dragged.label;
    return this.frame.labels[view][keypoint];
  }

  prediction(view, keypoint) {
    return this.frame.predictions?.[view][keypoint] ?? null;
  }

  projection(view, keypoint) {
    return this.frame.geometry?.projections[view][keypoint] ?? null;
  }

  geometryOf(keypoint) {
    const { geometry } = this.frame;
    if (!geometry) return null;
    return {
      projections: geometry.projections.map((row) => row[keypoint]),
      ellipses: geometry.ellipses.map((row) => row[keypoint]),
      curves: geometry.curves[keypoint] ?? [],
    };
  }

  errorOf(view, keypoint) {
    return this.frame.geometry?.errors[view][keypoint] ?? null;
  }

  isMarked(view, keypoint) {
    return (this.errorOf(view, keypoint) ?? 0) > this.project.threshold;
  }

  // Place of a keypoint for the skeleton: its label, else what is proposed.
  shownPoint(view, keypoint) {
    const [x, y, , origin] = this.label(view, keypoint);
    if (x !== null) return [x, y];
    if (origin === "absent") return null;
    return (this.options.geometry && this.projection(view, keypoint)) || this.prediction(view, keypoint);
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

  isInside(view, point) {
    if (!point || !this.hasImage(view)) return false;
    const [width, height] = this.frame.views[view].size;
    return point[0] >= -0.5 && point[1] >= -0.5 && point[0] <= width - 0.5 && point[1] <= height - 0.5;
  }

  render() {
    this.rendering ??= requestAnimationFrame(() => {
      this.rendering = null;
      const began = performance.now();
      for (const view of this.views) view.drawMarks();
      this.keypointList.update();
      this.showStatus();
      const history = this.history();
      element("undo").disabled = !history.done.length;
      element("redo").disabled = !history.undone.length;
      element("previous").disabled = this.position === 0;
      element("next").disabled = this.position === this.order.length - 1;
      this.renderedIn = performance.now() - began; // for the benchmark
    });
  }

  showStatus() {
    const { geometry } = this.frame;
    const keypoint = this.activeKeypoint;
    const name = this.project.keypoints[keypoint];
    const states = this.views.map((_, view) => this.state(view, keypoint));
    const clicks = states.filter((state) => state === "click").length;
    const proposals = states.filter((state) => state === "proposal").length;
    const disagrees = Boolean(geometry?.disagrees[keypoint]);
    let text = `${name}: `;
    if (this.offset) text = "frame of the video, to look at only; Esc goes back to the labeled one";
    else if (disagrees) text += this.disagreement(keypoint);
    else if (!geometry) text += this.views.length > 1 ? "no calibration, so each view is labeled alone" : "click to place it";
    else if (clicks === 0) text += "click it in one view; its curve appears in the others";
    else if (proposals) text += `projected into ${proposals} more ${proposals > 1 ? "views" : "view"}; Shift+A accepts`;
    else if (clicks === 1) text += "click it in a second view, on the curve";
    else text += `${clicks} clicks agree within ${Math.max(...geometry.errors.map((row) => row[keypoint] ?? 0)).toFixed(1)} px`;
    element("status").textContent = text;
    element("status").title = text;
    element("status").classList.toggle("marked", disagrees && !this.offset);
  }

  disagreement(keypoint) {
    const { suspects, errors } = this.frame.geometry;
    const names = suspects[keypoint].map((view) => this.project.views[view]);
    const largest = Math.max(...errors.map((row) => row[keypoint] ?? 0)).toFixed(1);
    if (names.length === 1) return `${names[0]} disagrees by ${largest} px; without it the others agree`;
    const clicks = this.views.filter((_, view) => this.state(view, keypoint) === "click").length;
    const advice = clicks < this.views.length ? "; a click in another view decides" : "";
    if (clicks === 2) return `${names.join(" and ")} contradict each other by ${largest} px${advice}`;
    return `${names.join(" or ")} disagrees by ${largest} px${advice}`;
  }

  // Edits

  history(frame = this.frame.frame) {
    if (!this.histories.has(frame)) this.histories.set(frame, { done: [], undone: [] });
    return this.histories.get(frame);
  }

  // `labels`: [view, keypoint, label] of each label to set.
  apply(labels) {
    const changes = labels
      .map(([view, keypoint, label]) => ({ view, keypoint, before: this.frame.labels[view][keypoint], after: label }))
      .filter(({ before, after }) => before.some((value, index) => value !== after[index]));
    if (!changes.length) return false;
    if (this.offset) {
      this.setOffset(0);
      return false;
    }
    const history = this.history();
    history.done.push(changes);
    history.undone = [];
    this.write(changes, "after");
    return true;
  }

  undo() {
    const { done, undone } = this.history();
    if (!done.length) return;
    undone.push(done.at(-1));
    this.write(done.pop(), "before");
  }

  redo() {
    const { done, undone } = this.history();
    if (!undone.length) return;
    done.push(undone.at(-1));
    this.write(undone.pop(), "after");
  }

  write(changes, which) {
    for (const { view, keypoint, [which]: label } of changes) this.frame.labels[view][keypoint] = label;
    this.unsaved = true;
    this.queue.push(this.frame.frame, changes.map(({ view, keypoint, [which]: label }) => [view, keypoint, label]));
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.save(), SAVE_AFTER);
    this.refreshGeometry(changes.map(({ keypoint }) => keypoint));
    this.render();
  }

  place(view, point) {
    const [x, y] = point.map(round);
    if (!this.isInside(view, [x, y])) return;
    const keypoint = this.activeKeypoint;
    const visible = this.frame.labels[view][keypoint][2] === 1 ? 1 : 2;
    const placed = this.apply([[view, keypoint, [x, y, visible, "click"]]]);
    if (placed && (this.options.advance || !this.frame.geometry)) this.step(1);
  }

  drag(view, keypoint, point) {
    if (this.offset) return;
    const [width, height] = this.frame.views[view].size;
    const x = round(Math.min(Math.max(point[0], -0.5), width - 0.5));
    const y = round(Math.min(Math.max(point[1], -0.5), height - 0.5));
    this.dragged = { view, keypoint, label: [x, y, this.frame.labels[view][keypoint][2] === 1 ? 1 : 2, "click"] };
    this.refreshGeometry([keypoint]);
    this.render();
  }

  drop(view, keypoint, point) {
    this.drag(view, keypoint, point);
    const label = this.dragged?.label;
    this.dragged = null;
    if (label) this.apply([[view, keypoint, label]]);
  }

  cancelDrag() {
    if (!this.dragged) return;
    const { keypoint } = this.dragged;
    this.dragged = null;
    this.refreshGeometry([keypoint]);
    this.render();
  }

  accept() {
    const [view, keypoint] = [this.activeView, this.activeKeypoint];
    const projection = this.projection(view, keypoint);
    if (!this.isInside(view, projection)) return this.acceptPrediction();
    this.apply([[view, keypoint, this.accepted(view, keypoint, projection)]]);
  }

  acceptViews() {
    this.apply(this.acceptable(this.activeKeypoint));
    this.nextOpen();
  }

  acceptAll() {
    this.apply(this.project.keypoints.flatMap((_, keypoint) => this.acceptable(keypoint)));
  }

  // Projections that can be accepted: where there is no label, or one that was accepted before.
  acceptable(keypoint) {
    if (this.frame.geometry?.disagrees[keypoint] && this.frame.geometry.suspects[keypoint].length !== 1) return [];
    return this.views.flatMap((_, view) => {
      const [x, , visible, origin] = this.frame.labels[view][keypoint];
      const open = (x === null && origin !== "absent" && visible === 0) || origin === "projection";
      const projection = this.projection(view, keypoint);
      return open && this.isInside(view, projection) ? [[view, keypoint, this.accepted(view, keypoint, projection)]] : [];
    });
  }

  accepted(view, keypoint, [x, y]) {
    return [x, y, this.frame.labels[view][keypoint][2] === 1 ? 1 : 2, "projection"];
  }

  acceptPrediction() {
    const [view, keypoint] = [this.activeView, this.activeKeypoint];
    const prediction = this.prediction(view, keypoint);
    if (prediction) this.apply([[view, keypoint, [prediction[0], prediction[1], 2, "prediction"]]]);
  }

  acceptPredictions() {
    const labels = this.views.flatMap((_, view) => this.project.keypoints.flatMap((_, keypoint) => {
      const [x, , visible, origin] = this.frame.labels[view][keypoint];
      const prediction = this.prediction(view, keypoint);
      if (x !== null || visible || origin || !prediction) return [];
      return [[view, keypoint, [prediction[0], prediction[1], 2, "prediction"]]];
    }));
    this.apply(labels);
  }

  toggleOccluded() {
    const [view, keypoint] = [this.activeView, this.activeKeypoint];
    if (!this.project.hasVisible) return this.offerVisible();
    const [x, y, visible, origin] = this.frame.labels[view][keypoint];
    if (visible === 1) return this.apply([[view, keypoint, x === null ? NONE : [x, y, 2, origin]]]);
    if (x !== null) return this.apply([[view, keypoint, [x, y, 1, origin]]]);
    const projection = this.projection(view, keypoint);
    const place = this.isInside(view, projection) ? [...projection, 1, "projection"] : [null, null, 1, "click"];
    return this.apply([[view, keypoint, place]]);
  }

  toggleAbsent() {
    const [view, keypoint] = [this.activeView, this.activeKeypoint];
    const absent = this.frame.labels[view][keypoint][3] === "absent";
    this.apply([[view, keypoint, absent ? NONE : [null, null, 0, "absent"]]]);
  }

  remove() {
    this.apply([[this.activeView, this.activeKeypoint, NONE]]);
  }

  offerVisible() {
    this.showBanner(
      "Occluded needs a column `visible`, which the label tables do not have. Adding it changes every row of every table; " +
        "labels keep their digits. DeepLabCut does not read tables with this column, Lightning Pose does.",
      "add the column",
      async () => {
        await this.queue.flush();
        this.restart(await post("/api/visible"));
      },
      "note",
    );
  }

  // Geometry: one request at a time, always for the newest labels.
  async refreshGeometry(keypoints) {
    if (!this.frame.geometry) return;
    for (const keypoint of keypoints) this.wanted.add(keypoint);
    if (this.computing) return;
    this.computing = true;
    try {
      while (this.wanted.size) {
        const { frame } = this;
        const asked = [...this.wanted];
        this.wanted.clear();
        const labels = asked.map((keypoint) => this.views.map((_, view) => this.label(view, keypoint)));
        const answer = await post(`/api/frames/${frame.frame}/geometry`, { keypoints: asked, labels });
        if (this.frame === frame) this.merge(asked, answer);
      }
    } catch (error) {
      this.fail(error);
    } finally {
      this.computing = false;
    }
  }

  merge(keypoints, answer) {
    const { geometry } = this.frame;
    keypoints.forEach((keypoint, column) => {
      for (const name of ["projections", "ellipses", "errors"]) {
        geometry[name].forEach((row, view) => (row[keypoint] = answer[name][view][column]));
      }
      for (const name of ["disagrees", "suspects"]) geometry[name][keypoint] = answer[name][column];
      delete geometry.curves[keypoint];
      if (answer.curves[column]) geometry.curves[keypoint] = answer.curves[column];
    });
    this.render();
  }

  // Choice of view and keypoint, cursor

  activate(view) {
    this.activeView = view;
    this.render();
  }

  select(keypoint) {
    if (keypoint >= this.project.keypoints.length) return;
    this.activeKeypoint = keypoint;
    this.render();
  }

  step(step) {
    const { length } = this.project.keypoints;
    this.select((this.activeKeypoint + step + length) % length);
  }

  stepView(step) {
    const { length } = this.views;
    for (let tries = 1; tries <= length; tries++) {
      const view = (this.activeView + tries * step + tries * length) % length;
      if (!this.hasImage(view)) continue;
      this.activeView = view;
      if (this.maximized) this.layout();
      return this.render();
    }
  }

  nextOpen() {
    const { length } = this.project.keypoints;
    for (let step = 1; step <= length; step++) {
      const keypoint = (this.activeKeypoint + step) % length;
      const open = (_, view) =>
        ["none", "prediction", "proposal"].includes(this.state(view, keypoint)) || this.isMarked(view, keypoint);
      if (this.views.some(open)) return this.select(keypoint);
    }
  }

  moveCursor(dx, dy) {
    const view = this.views[this.activeView];
    if (!view.cursor) {
      const [width, height] = view.size;
      const start = this.shownPoint(this.activeView, this.activeKeypoint);
      view.cursor = start ? start.slice(0, 2) : [(width - 1) / 2, (height - 1) / 2];
    } else {
      const [width, height] = view.size;
      const inside = (value, length) => Math.min(Math.max(round(value), -0.5), length - 0.5);
      view.cursor = [inside(view.cursor[0] + dx, width), inside(view.cursor[1] + dy, height)];
    }
    view.keepVisible(view.cursor);
    this.render();
  }

  placeAtCursor() {
    const { cursor } = this.views[this.activeView];
    if (cursor) this.place(this.activeView, cursor);
    else this.moveCursor(0, 0);
  }

  escape() {
    for (const view of this.views) view.cursor = null;
    this.cancelDrag();
    this.setOffset(0);
  }

  // Looking

  async setOffset(offset) {
    const { reach } = this.project;
    const wanted = Math.min(Math.max(offset, -reach), reach);
    if (element("video").hidden || wanted === this.offset) return this.render();
    this.offset = wanted;
    this.showOffset();
    this.render();
    if (this.seeking) return;
    this.seeking = true;
    // One set of images at a time; while the slider moves, only the last place is loaded.
    for (let loaded = null; loaded !== this.offset; ) {
      loaded = this.offset;
      const { frame } = this;
      const images = loaded === 0
        ? this.images.load(frame.frame, this.views.length)
        : frame.views.map((view, number) => (view.video === null ? null : neighbor(frame.frame, number, loaded)));
      const bitmaps = await Promise.all(images);
      if (this.frame !== frame) break;
      this.showImages(bitmaps);
    }
    this.seeking = false;
  }

  showOffset() {
    element("offset").value = this.offset;
    element("at").textContent = this.offset > 0 ? `+${this.offset}` : `${this.offset}`;
  }

  zoom(factor) {
    const view = this.views[this.activeView];
    const place = view.cursor ?? this.shownPoint(this.activeView, this.activeKeypoint);
    const { clientWidth, clientHeight } = view.element;
    view.zoom(factor, place ? view.toScreen(place) : [clientWidth / 2, clientHeight / 2]);
  }

  zoomToKeypoint() {
    this.views.forEach((view, number) => {
      const point = this.shownPoint(number, this.activeKeypoint);
      if (point) view.center(point, Math.max(4, view.fitScale * 4));
    });
  }

  fit() {
    for (const view of this.views) view.fit();
  }

  toggleMaximized() {
    this.maximized = !this.maximized;
    this.layout();
    this.render();
  }

  toggle(option) {
    this.options[option] = !this.options[option];
    localStorage.setItem(OPTIONS, JSON.stringify(this.options));
    this.render();
  }

  light() {
    const [brightness, contrast] = ["brightness", "contrast"].map((id) => element(id).value);
    // No filter is faster than one that changes nothing.
    const filter = brightness === "1" && contrast === "1" ? "none" : `brightness(${brightness}) contrast(${contrast})`;
    document.documentElement.style.setProperty("--light", filter);
  }

  resetLight() {
    for (const id of ["brightness", "contrast"]) element(id).value = 1;
    this.light();
  }

  toggleSheet() {
    element("sheet").showModal();
  }

  // Saving

  async save() {
    clearTimeout(this.timer);
    await this.queue.flush();
    const edits = this.queue.first;
    try {
      const answer = await post("/api/save");
      if (this.queue.first === edits && !this.queue.edits.length) this.unsaved = false;
      this.failure = null;
      if (answer.saved.length) this.savedAt = new Date();
      if (element("banner").dataset.kind === "save") element("banner").hidden = true;
    } catch (error) {
      this.failure = error;
      if (error.code === "changed-file") {
        this.showBanner(error.message, "reload the tables", () => this.reload(), "save");
      } else if (error.code) {
        this.showBanner(`${error.message}. The labels are kept in the journal.`, "try again", () => this.save(), "save");
      }
    }
    this.showSaving();
  }

  async reload() {
    await this.queue.flush();
    this.restart(await post("/api/reload"));
  }

  // Another state of the project, with other numbers of frames perhaps.
  restart() {
    location.reload();
  }

  answered({ revision, frames }) {
    for (const [frame, summary] of Object.entries(frames)) {
      this.project.frames[frame] = summary;
      this.frameList.update(Number(frame));
    }
    this.revision = revision;
  }

  // Another page of the same server may have changed labels.
  async refresh() {
    if (!this.frame || this.queue.edits.length) return;
    const project = await get("/api/project").catch(() => null);
    if (!project || project.revision === this.revision) return;
    if (project.generation !== this.project.generation) return this.restart();
    Object.assign(this.project, project);
    this.revision = project.revision;
    project.frames.forEach((_, frame) => this.frameList.update(frame));
    this.histories.clear();
    await this.show(this.position);
  }

  async refused(error) {
    if (error.code === "stale-page") return this.restart();
    this.showBanner(error.message, "close", () => {}, "refused");
    this.histories.delete(this.frame.frame);
    await this.show(this.position);
  }

  showSaving() {
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
    element("saving").textContent = text;
    element("saving").className = failed ? "failed" : this.unsaved ? "unsaved" : "";
  }

  showBanner(text, action, act, kind) {
    const banner = element("banner");
    const [message, button] = banner.children;
    message.textContent = text;
    button.textContent = action;
    button.onclick = async () => {
      banner.hidden = true;
      await Promise.resolve(act()).catch((error) => this.fail(error));
    };
    banner.className = kind === "note" ? "note" : "";
    banner.dataset.kind = kind;
    banner.hidden = false;
  }

  fail(error) {
    const offline = error instanceof TypeError && /fetch/i.test(error.message);
    const text = offline
      ? "The server does not answer. What it had received is kept: start mvtrain label again and open the new address."
      : error.message;
    this.showBanner(text, "close", () => {}, "error");
  }
}

function stored() {
  try {
    return JSON.parse(localStorage.getItem(OPTIONS)) ?? {};
  } catch {
    return {};
  }
}

const app = new App();
window.mvtrainLabel = app; // for tests and the benchmark
app.start().catch((error) => app.fail(error));
