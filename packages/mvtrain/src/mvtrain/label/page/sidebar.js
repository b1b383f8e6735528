// The lists on the right: keypoints with their state in every view, and frames with the work that is left.

import { swatch } from "./shapes.js";

const STATES = {
  click: "visible",
  projection: "visible, placed by the other views",
  occluded: "occluded",
  absent: "absent",
  prediction: "predicted, not accepted",
  proposal: "projected, not accepted",
  none: "no label",
  outside: "outside of this image",
  missing: "no image",
};

export class KeypointList {
  constructor(app, table) {
    this.app = app;
    this.table = table;
    const head = table.createTHead().insertRow();
    head.innerHTML = "<th></th><th>keypoint</th>";
    this.heads = app.project.views.map((view, number) => {
      const cell = document.createElement("th");
      cell.className = "state";
      cell.textContent = number + 1;
      cell.title = view;
      head.append(cell);
      return cell;
    });
    head.insertAdjacentHTML("beforeend", '<th class="error" title="largest reprojection error in px">px</th>');
    const body = table.createTBody();
    this.rows = app.project.keypoints.map((name, keypoint) => {
      const row = body.insertRow();
      row.innerHTML = `<td>${swatch(keypoint)}</td><td class="name"></td>`;
      row.querySelector(".name").textContent = name;
      row.title = keypoint < 10 ? `key ${(keypoint + 1) % 10}` : "";
      row.addEventListener("click", () => app.select(keypoint));
      const cells = app.project.views.map(() => {
        const cell = row.insertCell();
        cell.className = "state";
        cell.append(document.createElement("i"));
        return cell;
      });
      const error = row.insertCell();
      error.className = "error";
      return { row, cells, error };
    });
  }

  update() {
    const { app } = this;
    this.heads.forEach((cell, view) => cell.classList.toggle("active", view === app.activeView));
    this.rows.forEach(({ row, cells, error }, keypoint) => {
      row.classList.toggle("active", keypoint === app.activeKeypoint);
      cells.forEach((cell, view) => {
        const state = app.frame.state(view, keypoint);
        const marked = app.frame.isMarked(view, keypoint);
        cell.firstChild.className = `${state}${marked ? " marked" : ""}`;
        cell.title = `${app.project.views[view]}: ${STATES[state]}`;
      });
      const errors = app.project.views.map((_, view) => app.frame.errorOf(view, keypoint)).filter((value) => value !== null);
      const largest = errors.length ? Math.max(...errors) : null;
      error.textContent = largest === null ? "" : largest.toFixed(1);
      error.classList.toggle("marked", largest !== null && largest > app.project.threshold);
    });
    const active = this.rows[app.activeKeypoint].row;
    if (this.shown !== active) active.scrollIntoView({ block: "nearest" });
    this.shown = active;
  }
}

export class FrameList {
  constructor(app, list) {
    this.app = app;
    this.list = list;
    this.items = app.project.frames.map((_, frame) => {
      const item = document.createElement("li");
      item.innerHTML = "<b><bdi></bdi></b><progress></progress><em></em>";
      item.addEventListener("click", () => app.show(app.order.indexOf(frame)));
      return item;
    });
    this.sort();
    app.project.frames.forEach((_, frame) => this.update(frame));
  }

  sort() {
    this.list.replaceChildren(...this.app.order.map((frame) => this.items[frame]));
  }

  update(frame) {
    const { session, name, labeled, total, work, disagrees } = this.app.project.frames[frame];
    const item = this.items[frame];
    const [title, bar, left] = item.children;
    const file = name.split(/[/\\]/).pop().replace(/\.\w+$/, "");
    title.firstChild.textContent = `${session} ${file}`; // too long, its end stays
    title.title = name;
    left.textContent = disagrees ? `! ${Math.ceil(work)}` : work > 0 ? Math.ceil(work) : "✓";
    left.title = disagrees ? "views disagree" : `labels that need a hand: ${Math.ceil(work)}`;
    item.classList.toggle("marked", disagrees);
    item.classList.toggle("done", work === 0);
    bar.max = Math.max(1, total);
    bar.value = labeled;
    bar.title = `${labeled} of ${total} labels`;
  }

  activate(frame) {
    this.items.forEach((item, number) => item.classList.toggle("active", number === frame));
    this.items[frame].scrollIntoView({ block: "nearest" });
  }
}
