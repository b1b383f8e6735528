// The page: which frame, view and keypoint is active, and what is drawn. What is done with them is in editor.js,
// saving.js, looking.js and video.js; keys are in keys.js.

import { get } from "./api.js";
import { Banner } from "./banner.js";
import { Editor } from "./editor.js";
import { Frame } from "./frame.js";
import { GeometryRequests } from "./geometry.js";
import { Histories } from "./history.js";
import { Images } from "./images.js";
import { fillSheet, listen } from "./keys.js";
import { Looking } from "./looking.js";
import { Saving } from "./saving.js";
import { FrameList, KeypointList } from "./sidebar.js";
import { describe } from "./status.js";
import { Video } from "./video.js";
import { View } from "./view.js";

const OPTIONS = "mvtrain-label-options";
const FRAME = "mvtrain-label-frame"; // shown again after the page was reloaded

const element = (id) => document.getElementById(id);

class App {
  constructor() {
    this.banner = new Banner(element("banner"));
  }

  async start() {
    this.project = await get("/api/project");
    document.title = `${this.project.name} - mvtrain label`;
    element("project").textContent = this.project.name;
    this.options = { names: false, skeleton: true, geometry: true, advance: false, ...stored() };
    this.order = this.project.frames.map((_, frame) => frame);
    this.position = 0;
    this.frame = null;
    this.activeView = 0;
    this.activeKeypoint = 0;
    this.images = new Images();
    this.saving = new Saving(this);
    this.geometry = new GeometryRequests(this);
    this.editor = new Editor(this, new Histories(this.project));
    this.video = new Video(this, element("video"), element("offset"), element("at"));
    this.looking = new Looking(this);
    this.views = this.project.views.map((name, number) => new View(this, number, name));
    element("views").append(...this.views.map((view) => view.element));
    this.keypointList = new KeypointList(this, element("keypoints").querySelector("table"));
    this.frameList = new FrameList(this, element("frames"));
    fillSheet(element("keys"));
    this.listen();
    listen(this);
    if (this.project.hasPredictions && !this.project.isList) this.sort("work");
    this.showNotes();
    const last = this.project.frames.findIndex((frame) => frame.name === sessionStorage.getItem(FRAME));
    await this.show(Math.max(0, this.order.indexOf(last)));
  }

  listen() {
    const click = (id, action) => element(id).addEventListener("click", action);
    click("previous", () => this.stepFrame(-1));
    click("next", () => this.stepFrame(1));
    click("undo", () => this.editor.undo());
    click("redo", () => this.editor.redo());
    click("help", () => this.toggleSheet());
    element("order").addEventListener("change", (event) => {
      this.sort(event.target.value);
      event.target.blur();
      this.show(0);
    });
    // Arrow keys belong to the cursor, not to the slider that was moved last.
    for (const input of document.querySelectorAll("input[type=range]")) {
      input.addEventListener("change", () => input.blur());
    }
  }

  showNotes() {
    const { conflicts, recovered } = this.project;
    const notes = conflicts.length ? [`Not kept, because the tables differ:`, ...conflicts] : [];
    if (recovered) notes.unshift(`Recovered labels that had not been saved: ${recovered}.`);
    if (notes.length) this.banner.show(notes.join("\n"), "close", () => {}, "note");
  }

  // Frames

  async show(position) {
    if (position < 0 || position >= this.order.length) return;
    if (this.frame) this.leave();
    this.position = position;
    const number = this.order[position];
    this.token = number;
    const images = this.images.load(number, this.views.length);
    const [data, ...viewImages] = await Promise.all([
      this.saving.queue.flush().then(() => get(`/api/frames/${number}`)),
      ...images,
    ]).catch((error) => [this.banner.fail(error)]);
    if (!data || this.token !== number) return;
    this.frame = new Frame(data, this.project.threshold);
    this.looking.layout();
    this.showImages(viewImages);
    this.frameList.activate(number);
    element("frame").textContent = `${position + 1} / ${this.order.length}`;
    element("session").textContent = this.frame.name;
    this.video.reset(this.frame);
    if (!this.frame.hasImage(this.activeView)) this.activeView = data.views.findIndex((view) => view.image !== null);
    this.render();
    document.body.dataset.frame = number;
    sessionStorage.setItem(FRAME, this.frame.name);
    for (const next of [position + 1, position - 1]) {
      if (next >= 0 && next < this.order.length) this.images.load(this.order[next], this.views.length);
    }
  }

  leave() {
    this.editor.cancelDrag();
    this.looking.hideCursor();
    if (this.saving.unsaved) this.saving.save();
  }

  // True while something is on its way to or from the server, for tests.
  get busy() {
    const waiting = this.geometry.computing || this.rendering || this.video.seeking || this.saving.queue.edits.length;
    return Boolean(waiting || this.frame?.frame !== this.token);
  }

  showImages(viewImages) {
    this.views.forEach((view, number) => {
      const viewImage = viewImages[number];
      const failed = viewImage instanceof Error;
      const note = failed ? viewImage.message : viewImage === null ? "no image of this frame" : "";
      view.setImage(failed ? null : viewImage, this.frame.views[number].size, note);
    });
  }

  stepFrame(step) {
    return this.show(this.position + step);
  }

  sort(order) {
    element("order").value = order;
    const { frames } = this.project;
    this.order = frames.map((_, frame) => frame);
    if (order === "work") this.order.sort((a, b) => frames[b].work - frames[a].work || a - b);
    this.frameList.sort();
  }

  // Another state of the project, with other numbers of frames perhaps.
  restart() {
    location.reload();
  }

  // Choice of view and keypoint

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
      if (!this.frame.hasImage(view)) continue;
      this.activeView = view;
      if (this.looking.maximized) this.looking.layout();
      return this.render();
    }
  }

  nextOpen() {
    const { length } = this.project.keypoints;
    for (let step = 1; step <= length; step++) {
      const keypoint = (this.activeKeypoint + step) % length;
      if (this.frame.isOpen(keypoint)) return this.select(keypoint);
    }
  }

  escape() {
    this.looking.hideCursor();
    this.editor.cancelDrag();
    this.video.set(0);
  }

  // What is drawn

  state(view, keypoint) {
    return this.frame.state(view, keypoint);
  }

  geometryOf(keypoint) {
    return this.frame.geometryOf(keypoint);
  }

  shownPoint(view, keypoint) {
    return this.frame.shownPoint(view, keypoint, this.options.geometry);
  }

  render() {
    this.rendering ??= requestAnimationFrame(() => {
      this.rendering = null;
      const began = performance.now();
      for (const view of this.views) view.drawMarks();
      this.keypointList.update();
      this.showStatus();
      const history = this.editor.histories.of(this.frame);
      element("undo").disabled = !history.done.length;
      element("redo").disabled = !history.undone.length;
      element("previous").disabled = this.position === 0;
      element("next").disabled = this.position === this.order.length - 1;
      this.renderedIn = performance.now() - began; // for the benchmark
    });
  }

  showStatus() {
    const [text, warns] = describe(this);
    element("status").textContent = text;
    element("status").title = text;
    element("status").classList.toggle("marked", warns);
    const noise = this.frame.geometry?.noise ?? this.project.noise;
    element("noise").textContent = `ellipse 95 % for clicks ±${noise} px; marked > ${this.project.threshold} px`;
  }

  toggle(option) {
    this.options[option] = !this.options[option];
    localStorage.setItem(OPTIONS, JSON.stringify(this.options));
    this.render();
  }

  toggleSheet() {
    element("sheet").showModal();
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
app.start().catch((error) => app.banner.fail(error));
