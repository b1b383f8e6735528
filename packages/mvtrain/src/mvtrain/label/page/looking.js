// What changes only how images are shown: their arrangement, zoom, brightness and contrast, and the keyboard's cursor.

const element = (id) => document.getElementById(id);
const round = (value) => Math.round(value * 1000) / 1000;

export class Looking {
  constructor(app) {
    this.app = app;
    this.maximized = false;
    for (const id of ["brightness", "contrast"]) element(id).addEventListener("input", () => this.light());
    addEventListener("resize", () => this.layout());
  }

  get view() {
    return this.app.views[this.app.activeView];
  }

  get point() {
    const { app } = this;
    return app.shownPoint(app.activeView, app.activeKeypoint);
  }

  layout() {
    const { app } = this;
    const area = element("views");
    const shown = app.views.filter((_, number) => !this.maximized || number === app.activeView);
    for (const view of app.views) view.element.hidden = !shown.includes(view);
    const size = app.frame?.views.find((view) => view.image !== null)?.size ?? [4, 3];
    const fits = (columns) => {
      const rows = Math.ceil(shown.length / columns);
      return Math.min(area.clientWidth / columns / size[0], area.clientHeight / rows / size[1]);
    };
    const choices = shown.map((_, number) => number + 1);
    const columns = choices.reduce((best, choice) => (fits(choice) > fits(best) * 1.001 ? choice : best), 1);
    area.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    area.style.gridTemplateRows = `repeat(${Math.ceil(shown.length / columns)}, minmax(0, 1fr))`;
  }

  toggleMaximized() {
    this.maximized = !this.maximized;
    this.layout();
    this.app.render();
  }

  zoom(factor) {
    const place = this.view.cursor ?? this.point;
    const { clientWidth, clientHeight } = this.view.element;
    this.view.zoom(factor, place ? this.view.toScreen(place) : [clientWidth / 2, clientHeight / 2]);
  }

  zoomToKeypoint() {
    this.app.views.forEach((view, number) => {
      const point = this.app.shownPoint(number, this.app.activeKeypoint);
      if (point) view.center(point, Math.max(4, view.fitScale * 4));
    });
  }

  fit() {
    for (const view of this.app.views) view.fit();
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

  // Cursor

  moveCursor(dx, dy) {
    const { view } = this;
    const [width, height] = view.size;
    if (!view.cursor) {
      const start = this.point;
      view.cursor = start ? start.slice(0, 2) : [(width - 1) / 2, (height - 1) / 2];
    } else {
      const inside = (value, length) => Math.min(Math.max(round(value), -0.5), length - 0.5);
      view.cursor = [inside(view.cursor[0] + dx, width), inside(view.cursor[1] + dy, height)];
    }
    view.keepVisible(view.cursor);
    this.app.render();
  }

  placeAtCursor() {
    const { cursor } = this.view;
    if (cursor) this.app.editor.place(this.app.activeView, cursor);
    else this.moveCursor(0, 0);
  }

  hideCursor() {
    for (const view of this.app.views) view.cursor = null;
  }
}
